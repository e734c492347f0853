// Encodings go on weights as ops: nothing is rounded before the artifact is written.
// RUN: ingot opt --emit text --pipeline='quantize{linear=int4-g32 overrides="v=int8"},round-activations' %s | filecheck %s

// CHECK-LABEL: func.func @step
func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %batch: !lm.batch) -> tensor<?x32xf32> {
  // CHECK:      %[[X:.*]] = "lm.embedding"
  // CHECK:      %[[W:.*]] = "lm.weight"() {symbol = "w"}
  // CHECK:      %[[Q:.*]] = "lm.quantize"(%[[W]]) : (tensor<32x32xf32>) -> !lm.quant<tensor<32x32xf32>, "int4-g32">
  // CHECK:      %[[R:.*]] = "lm.round"(%[[X]]) : {{.*}} -> !lm.quant<tensor<?x32xf32>, "int8-act">
  // CHECK:      %[[Y:.*]] = "lm.linear"(%[[R]], %[[Q]])
  // CHECK:      "lm.quantize"{{.*}} -> !lm.quant<tensor<32x32xf32>, "int8">
  // CHECK:      "lm.round"(%[[Y]])
  %table = "lm.weight"() {symbol = "table"} : () -> tensor<9x32xf32>
  %x = "lm.embedding"(%tokens, %table) : (tensor<?xi32>, tensor<9x32xf32>) -> tensor<?x32xf32>
  %w = "lm.weight"() {symbol = "w"} : () -> tensor<32x32xf32>
  %y = "lm.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<?x32xf32>, tensor<32x32xf32>) -> tensor<?x32xf32>
  %v = "lm.weight"() {symbol = "v"} : () -> tensor<32x32xf32>
  %z = "lm.linear"(%y, %v) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<?x32xf32>, tensor<32x32xf32>) -> tensor<?x32xf32>
  return %z : tensor<?x32xf32>
}
