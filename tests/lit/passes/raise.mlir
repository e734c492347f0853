// torch ops become lm ops; what no pattern knows stays between bridges.
// RUN: ingot opt --split-input-file --emit text --pipeline=raise %s | filecheck %s

// CHECK-LABEL: func.func @gated
// CHECK-SAME:    (%[[G:.*]]: tensor<?x4xf32>, %[[U:.*]]: tensor<?x4xf32>)
func.func @gated(%g: tensor<?x4xf32>, %u: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK-NEXT: %[[Y:.*]] = "lm.glu"(%[[G]], %[[U]]) {kind = "silu"}
  // CHECK-NEXT: return %[[Y]]
  %0 = "lm.to_torch"(%g) : (tensor<?x4xf32>) -> !torch.vtensor<[1,?,4],f32>
  %1 = "lm.to_torch"(%u) : (tensor<?x4xf32>) -> !torch.vtensor<[1,?,4],f32>
  %2 = torch.aten.silu %0 : !torch.vtensor<[1,?,4],f32> -> !torch.vtensor<[1,?,4],f32>
  %3 = torch.aten.mul.Tensor %2, %1 : !torch.vtensor<[1,?,4],f32>, !torch.vtensor<[1,?,4],f32> -> !torch.vtensor<[1,?,4],f32>
  %4 = "lm.from_torch"(%3) : (!torch.vtensor<[1,?,4],f32>) -> tensor<?x4xf32>
  return %4 : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func.func @unknown
func.func @unknown(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK:      "lm.to_torch"
  // CHECK-NEXT: torch.aten.sin
  // CHECK-NEXT: "lm.from_torch"
  %0 = "lm.to_torch"(%x) : (tensor<?x4xf32>) -> !torch.vtensor<[1,?,4],f32>
  %1 = torch.aten.sin %0 : !torch.vtensor<[1,?,4],f32> -> !torch.vtensor<[1,?,4],f32>
  %2 = "lm.from_torch"(%1) : (!torch.vtensor<[1,?,4],f32>) -> tensor<?x4xf32>
  return %2 : tensor<?x4xf32>
}
