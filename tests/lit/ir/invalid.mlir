// What a verifier says: where, what was expected, what was found.
// RUN: not ingot opt %s 2>&1 | filecheck %s

// CHECK: invalid.mlir:6:8: 'lm.linear' needs x of K = 5 features as w is tensor<6x5xf32>, found tensor<?x4xf32>
func.func @columns_differ(%x: tensor<?x4xf32>, %w: tensor<6x5xf32>) -> tensor<?x6xf32> {
  %y = "lm.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<?x4xf32>, tensor<6x5xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
