// Text and bytecode say the same.
// RUN: ingot opt --emit bytecode -o %t.mlirbc %s
// RUN: ingot opt --emit text %t.mlirbc | filecheck %s

// CHECK-LABEL: func.func @step
func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %batch: !lm.batch) -> tensor<?x4xf32> {
  // CHECK: "lm.weight"() {symbol = "table"} : () -> !lm.quant<tensor<9x4xf32>, "int8">
  // CHECK: "lm.embedding"
  %table = "lm.weight"() {symbol = "table"} : () -> !lm.quant<tensor<9x4xf32>, "int8">
  %x = "lm.embedding"(%tokens, %table) : (tensor<?xi32>, !lm.quant<tensor<9x4xf32>, "int8">) -> tensor<?x4xf32>
  return %x : tensor<?x4xf32>
}
