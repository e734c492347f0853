"""Draws small modules that mix the ops, types and layouts that passes meet.

A drawn module is a decoder: an embedding, layers of attention and gated units in varying forms, a
head.  All choices go through one function, so that pytest draws with `random` and a property test
with hypothesis, which then shrinks what fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from ingot.ir import (
    ACTIVATIONS,
    Activation,
    Add,
    Attention,
    BF16Type,
    Convert,
    Embedding,
    FromTorch,
    Glu,
    LayerNorm,
    Linear,
    Module,
    Mul,
    RmsNorm,
    Rope,
    Scale,
    Slice,
    Softcap,
    ToTorch,
    Transpose,
    Value,
    Weight,
    build_module,
    columns_of,
    float_tensor,
    tensor_type,
    torch_dialect,
)

T = TypeVar("T")


class Choose(Protocol):
    """Chooses one of several values: `random.Random(seed).choice`, or hypothesis."""

    def __call__(self, options: Sequence[T], /) -> T: ...


def random_lengths(choose: Choose) -> tuple[int, ...]:
    """Return how many tokens each sequence of a step has: prefill, decode, or a mixture."""
    return tuple(choose((1, 2, 5, 9, 17)) for _ in range(choose((1, 2, 3, 4))))


def random_module(choose: Choose) -> Module:
    """Return a module of one to three layers over 6 to 48 features."""
    return build_module(
        lambda tokens, positions, batch: _Model(choose, tokens, positions, batch).logits()
    )


@dataclass
class _Model:
    """One module while it is drawn."""

    choose: Choose
    tokens: Value
    positions: Value
    batch: Value
    weights: int = field(default=0, init=False)

    def logits(self) -> Value:
        width = self.choose((6, 16, 33, 48))
        table = self._matrix(self.choose((11, 64)), width)
        x = self._sometimes(Embedding(self.tokens, table).out)
        for layer in range(self.choose((1, 2, 3))):
            x = self._layer(layer, x)
        x = self._norm(x)
        head = table if self.choose((True, False)) else self._matrix(17, width)
        logits = Linear(x, head).out
        return Softcap(logits, cap=3.0).out if self.choose((True, False)) else logits

    def _layer(self, layer: int, x: Value) -> Value:
        """Add attention and a gated unit to x, one after the other or side by side."""
        attended = self._attention(layer, self._norm(x))
        if self.choose((True, False)):
            return Add(Add(attended, self._unit(self._norm(x))).out, x).out
        x = Add(x, attended).out
        return Add(x, self._unit(self._norm(x))).out

    def _attention(self, layer: int, x: Value) -> Value:
        heads, kv_heads = self.choose(((1, 1), (4, 2), (3, 3), (4, 1)))
        head_dim = self.choose((2, 8, 12))
        sizes = [heads * head_dim, kv_heads * head_dim, kv_heads * head_dim]
        q, k, v = self._projections(x, sizes)
        if self.choose((True, False)):
            q, k = (
                RmsNorm(y, self._vector(head_dim), eps=1e-5, heads=n).out
                for y, n in ((q, heads), (k, kv_heads))
            )
        if self.choose((True, False)):
            frequencies = self._vector(self.choose((head_dim // 2, 1)))
            interleaved = self.choose((True, False))
            q, k = (
                Rope(y, self.positions, frequencies, heads=n, interleaved=interleaved).out
                for y, n in ((q, heads), (k, kv_heads))
            )
        attended = Attention(
            q,
            k,
            v,
            self.batch,
            layer=layer,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            scale=head_dim**-0.5,
            window=self.choose((0, 4)),
            softcap=self.choose((0.0, 5.0)),
        ).out
        return self._linear(attended, columns_of(x))

    def _projections(self, x: Value, sizes: Sequence[int]) -> list[Value]:
        """Return linears of x: one each, or one for all with slices of its result."""
        if self.choose((True, False)):
            return [self._linear(x, size) for size in sizes]
        fused = self._linear(x, sum(sizes))
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        return [Slice(fused, offset=a, size=n).out for a, n in zip(starts, sizes, strict=True)]

    def _unit(self, x: Value) -> Value:
        hidden = self.choose((7, 32, 40))
        kind = self.choose(tuple(ACTIVATIONS))
        gate = self._linear(x, hidden)
        if self.choose((True, False)):
            y = Glu(gate, self._linear(x, hidden), kind=kind).out
        elif self.choose((True, False)):
            y = Mul(Activation(gate, kind=kind).out, self._linear(x, hidden)).out
        else:
            y = Activation(gate, kind=kind).out
        return self._sometimes(self._linear(y, columns_of(x)))

    def _norm(self, x: Value) -> Value:
        w = self._vector(columns_of(x))
        if self.choose((True, False)):
            return RmsNorm(x, w, eps=1e-6).out
        b = self._vector(columns_of(x)) if self.choose((True, False)) else None
        return LayerNorm(x, w, b, eps=1e-5).out

    def _sometimes(self, x: Value) -> Value:
        """Return x, scaled, multiplied by a vector, or after a torch op that nothing raises."""
        match self.choose(("as it is", "scaled", "scaled by one", "weighted", "unraised")):
            case "scaled":
                return Scale(x, factor=0.5).out
            case "scaled by one":
                return Scale(x, factor=1.0).out
            case "weighted":
                return Mul(x, self._vector(columns_of(x))).out
            case "unraised":
                crossed = ToTorch(x).out
                return FromTorch(torch_dialect.AtenSinOp(crossed.type, crossed).result).out
        return x

    def _linear(self, x: Value, rows: int) -> Value:
        bias = self._vector(rows) if self.choose((False, False, True)) else None
        return Linear(x, self._matrix(rows, columns_of(x)), bias).out

    def _matrix(self, rows: int, columns: int) -> Value:
        """Return a weight `[rows, columns]`: stored so, transposed, or in bfloat16."""
        how = self.choose(("plain", "plain", "transposed", "bfloat16"))
        if how == "transposed":
            return Transpose(self._weight((columns, rows))).out
        return self._weight((rows, columns), bfloat16=how == "bfloat16")

    def _vector(self, size: int) -> Value:
        return self._weight((size,))

    def _weight(self, shape: Sequence[int], bfloat16: bool = False) -> Value:
        self.weights += 1
        context = self.tokens.context
        kind = (
            tensor_type(shape, BF16Type.get(context)) if bfloat16 else float_tensor(shape, context)
        )
        weight = Weight(f"w{self.weights}", kind).out
        return Convert(weight).out if bfloat16 and self.choose((True, False)) else weight
