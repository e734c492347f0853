"""Draws what every module is made of: weights in varying forms, linears, norms, odd ends."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from ingot.ir import (
    BF16Type,
    Convert,
    FromTorch,
    LayerNorm,
    Linear,
    Mul,
    RmsNorm,
    Scale,
    ToTorch,
    Transpose,
    Value,
    Weight,
    columns_of,
    float_tensor,
    tensor_type,
    torch_dialect,
)

T = TypeVar("T")


class Choose(Protocol):
    """Chooses one of several values: `random.Random(seed).choice`, or hypothesis."""

    def __call__(self, options: Sequence[T], /) -> T: ...


@dataclass
class Drawing:
    """One module while it is drawn; all its choices go through `choose`."""

    choose: Choose
    tokens: Value
    positions: Value
    batch: Value
    weights: int = field(default=0, init=False)

    def norm(self, x: Value) -> Value:
        w = self.vector(columns_of(x))
        if self.choose((True, False)):
            return RmsNorm(x, w, eps=1e-6).out
        b = self.vector(columns_of(x)) if self.choose((True, False)) else None
        return LayerNorm(x, w, b, eps=1e-5).out

    def sometimes(self, x: Value) -> Value:
        """Return x, scaled, multiplied by a vector, or after a torch op that nothing raises."""
        match self.choose(("as it is", "scaled", "scaled by one", "weighted", "unraised")):
            case "scaled":
                return Scale(x, factor=0.5).out
            case "scaled by one":
                return Scale(x, factor=1.0).out
            case "weighted":
                return Mul(x, self.vector(columns_of(x))).out
            case "unraised":
                crossed = ToTorch(x).out
                return FromTorch(torch_dialect.AtenSinOp(crossed.type, crossed).result).out
        return x

    def linear(self, x: Value, rows: int) -> Value:
        bias = self.vector(rows) if self.choose((False, False, True)) else None
        return Linear(x, self.matrix(rows, columns_of(x)), bias).out

    def matrix(self, rows: int, columns: int) -> Value:
        """Return a weight `[rows, columns]`: stored so, transposed, or in bfloat16."""
        how = self.choose(("plain", "plain", "transposed", "bfloat16"))
        if how == "transposed":
            return Transpose(self.weight((columns, rows))).out
        return self.weight((rows, columns), bfloat16=how == "bfloat16")

    def vector(self, size: int) -> Value:
        return self.weight((size,))

    def weight(self, shape: Sequence[int], bfloat16: bool = False) -> Value:
        self.weights += 1
        context = self.tokens.context
        kind = (
            tensor_type(shape, BF16Type.get(context)) if bfloat16 else float_tensor(shape, context)
        )
        weight = Weight(f"w{self.weights}", kind).out
        return Convert(weight).out if bfloat16 and self.choose((True, False)) else weight
