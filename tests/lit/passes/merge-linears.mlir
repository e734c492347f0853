// Linears of one input and one kind of weight become one, whose result is sliced.
// RUN: ingot opt --split-input-file --emit text --pipeline=merge-linears %s | filecheck %s

// CHECK-LABEL: func.func @gate_and_up
// CHECK-SAME:    (%[[X:.*]]: tensor<?x4xf32>)
func.func @gate_and_up(%x: tensor<?x4xf32>) -> tensor<?x6xf32> {
  // CHECK-DAG:  %[[G:.*]] = "lm.weight"() {symbol = "gate"}
  // CHECK-DAG:  %[[U:.*]] = "lm.weight"() {symbol = "up"}
  // CHECK:      %[[W:.*]] = "lm.concat"(%[[G]], %[[U]]) {{.*}} -> tensor<12x4xf32>
  // CHECK-NEXT: %[[BOTH:.*]] = "lm.linear"(%[[X]], %[[W]]) {{.*}} -> tensor<?x12xf32>
  // CHECK-NEXT: %[[A:.*]] = "lm.slice"(%[[BOTH]]) {offset = 0 : i64, size = 6 : i64}
  // CHECK-NEXT: %[[B:.*]] = "lm.slice"(%[[BOTH]]) {offset = 6 : i64, size = 6 : i64}
  // CHECK-NEXT: "lm.glu"(%[[A]], %[[B]])
  %gate = "lm.weight"() {symbol = "gate"} : () -> tensor<6x4xf32>
  %a = "lm.linear"(%x, %gate) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<?x4xf32>, tensor<6x4xf32>) -> tensor<?x6xf32>
  %up = "lm.weight"() {symbol = "up"} : () -> tensor<6x4xf32>
  %b = "lm.linear"(%x, %up) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<?x4xf32>, tensor<6x4xf32>) -> tensor<?x6xf32>
  %y = "lm.glu"(%a, %b) {kind = "silu"} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// -----

// Weights of different types stay apart.
// CHECK-LABEL: func.func @types_differ
func.func @types_differ(%x: tensor<?x4xf32>) -> tensor<?x6xf32> {
  // CHECK-NOT: lm.concat
  %w = "lm.weight"() {symbol = "w"} : () -> tensor<6x4xf32>
  %a = "lm.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<?x4xf32>, tensor<6x4xf32>) -> tensor<?x6xf32>
  %v = "lm.weight"() {symbol = "v"} : () -> tensor<6x4xbf16>
  %b = "lm.linear"(%x, %v) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<?x4xf32>, tensor<6x4xbf16>) -> tensor<?x6xf32>
  %y = "lm.add"(%a, %b) : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
