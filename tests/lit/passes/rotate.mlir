// The rotation of the stream is in the weights; the scale of the norm moves into what reads it.
// RUN: ingot opt --emit text --pipeline=rotate %s | filecheck %s

// CHECK-LABEL: func.func @step
func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %batch: !lm.batch) -> tensor<?x5xf32> {
  // CHECK:      %[[TABLE:.*]] = "lm.weight"() {symbol = "table"}
  // CHECK:      %[[T:.*]] = "lm.rotate"(%[[TABLE]]) {dim = 1 : i64, seed = 0 : i64, size = 8 : i64}
  // CHECK:      %[[X:.*]] = "lm.embedding"(%{{.*}}, %[[T]])
  // CHECK:      %[[W:.*]] = "lm.rotate"(%{{.*}}) {dim = 0 : i64, seed = 0 : i64, size = 8 : i64}
  // CHECK:      %[[Y:.*]] = "lm.linear"(%[[X]], %{{.*}})
  // CHECK:      %[[SUM:.*]] = "lm.add"(%[[X]], %[[Y]])
  // CHECK:      %[[ONES:.*]] = "lm.fill"() {size = 8 : i64, value = 1.000000e+00 : f64}
  // CHECK:      %[[N:.*]] = "lm.rms_norm"(%[[SUM]], %[[ONES]])
  // CHECK:      %[[SCALED:.*]] = "lm.scale_columns"(%{{.*}}, %{{.*}})
  // CHECK:      %[[HEAD:.*]] = "lm.rotate"(%[[SCALED]]) {dim = 1 : i64, seed = 0 : i64, size = 8 : i64}
  // CHECK:      "lm.linear"(%[[N]], %[[HEAD]])
  %table = "lm.weight"() {symbol = "table"} : () -> tensor<9x8xf32>
  %x = "lm.embedding"(%tokens, %table) : (tensor<?xi32>, tensor<9x8xf32>) -> tensor<?x8xf32>
  %w = "lm.weight"() {symbol = "w"} : () -> tensor<8x8xf32>
  %y = "lm.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %sum = "lm.add"(%x, %y) : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %scale = "lm.weight"() {symbol = "scale"} : () -> tensor<8xf32>
  %n = "lm.rms_norm"(%sum, %scale) {eps = 0.5 : f64, heads = 1 : i64} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %head = "lm.weight"() {symbol = "head"} : () -> tensor<5x8xf32>
  %z = "lm.linear"(%n, %head) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<?x8xf32>, tensor<5x8xf32>) -> tensor<?x5xf32>
  return %z : tensor<?x5xf32>
}
