"""`lm.rotate`: blocks of features times an orthogonal matrix."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require, require_float, require_positive, require_shape
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.rotations import orthogonal_factors, rotate
from ingot.ir.types import float_tensor, shape_of, torch_dtype


class Rotate(Op, name="rotate"):
    """Every block of `size` elements along dimension `dim` of a float weight, times R.

    R is the orthogonal matrix of `ir/rotations.py` for that size and seed.  Since its inverse is
    its transpose, a linear whose weight has its columns (dim 1) rotated makes of rotated features
    what it made of the plain ones, and one whose rows (dim 0) are rotated makes rotated features.
    """

    w: Value
    dim: int
    size: int
    seed: int
    out: OpResult

    def __init__(self, w: Value, *, dim: int, size: int, seed: int, **place: Unpack[Place]) -> None:
        target = float_tensor(shape_of(w), w.context)
        self.build([w], [target], {"dim": dim, "size": size, "seed": seed}, **place)

    def check(self) -> None:
        require_float("w", self.w)
        shape = shape_of(self.w)
        known = 0 <= self.dim < len(shape)
        require(known, f"needs a dimension of {self.w.type} as dim, found {self.dim}")
        require_positive("size", self.size)
        require(
            shape[self.dim] % self.size == 0,
            f"needs a dimension that blocks of {self.size} divide, found {shape[self.dim]}",
        )
        require_float("the result", self.out)
        require_shape("the result", self.out, shape)

    def reference(self, *inputs: Datum) -> Tensor:
        w = tensor_of(inputs[0])
        wide = w if w.element_size() >= 4 else w.to(torch_dtype(self.out))
        return rotate(wide, self.dim, self.size, self.seed)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        products = sum(len(factor) for factor in orthogonal_factors(self.size))
        return Cost(2 * products * elements_of(self.w, tokens), traffic(self, tokens))
