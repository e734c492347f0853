// The residual sum moves into the norm that follows it, unless something reads the sum first.
// RUN: ingot opt --split-input-file --emit text --pipeline=fuse-norms %s | filecheck %s

// CHECK-LABEL: func.func @fused
// CHECK-SAME:    (%[[A:.*]]: tensor<?x4xf32>, %[[B:.*]]: tensor<?x4xf32>, %[[W:.*]]: tensor<4xf32>)
func.func @fused(%a: tensor<?x4xf32>, %b: tensor<?x4xf32>, %w: tensor<4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  // CHECK-NOT:  lm.add"
  // CHECK:      %[[BOTH:.*]]:2 = "lm.add_rms_norm"(%[[A]], %[[B]], %[[W]]) {{.*}}eps = 5.000000e-01
  // CHECK-NEXT: return %[[BOTH]]#0, %[[BOTH]]#1
  %sum = "lm.add"(%a, %b) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = "lm.rms_norm"(%sum, %w) {eps = 0.5 : f64, heads = 1 : i64} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %sum, %y : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func.func @read_before
func.func @read_before(%a: tensor<?x4xf32>, %w: tensor<4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  // CHECK:      "lm.add"
  // CHECK-NEXT: "lm.scale"
  // CHECK-NEXT: "lm.rms_norm"
  %sum = "lm.add"(%a, %a) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %z = "lm.scale"(%sum) {factor = 2.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = "lm.rms_norm"(%sum, %w) {eps = 0.5 : f64, heads = 1 : i64} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %z, %y : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// A norm of each head alone has no fused form.
// CHECK-LABEL: func.func @by_heads
func.func @by_heads(%a: tensor<?x4xf32>, %b: tensor<?x4xf32>, %w: tensor<2xf32>) -> tensor<?x4xf32> {
  // CHECK:      "lm.add"
  // CHECK-NEXT: "lm.rms_norm"{{.*}}heads = 2
  %sum = "lm.add"(%a, %b) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = "lm.rms_norm"(%sum, %w) {eps = 0.5 : f64, heads = 2 : i64} : (tensor<?x4xf32>, tensor<2xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
