"""Draws small modules that mix the ops, types and layouts that passes meet.

A drawn module is a decoder: an embedding, layers of attention and gated units in varying forms, a
head.  All choices go through one function, so that pytest draws with `random` and a property test
with hypothesis, which then shrinks what fails.
"""

from collections.abc import Sequence

from ingot.ir import (
    ACTIVATIONS,
    Activation,
    Add,
    Attention,
    CausalConv,
    Embedding,
    Experts,
    ExpertUnit,
    Glu,
    Linear,
    Module,
    Mul,
    RmsNorm,
    Rope,
    Route,
    Slice,
    Softcap,
    Value,
    build_module,
    columns_of,
)

from .drawing import Choose, Drawing


def random_lengths(choose: Choose) -> tuple[int, ...]:
    """Return how many tokens each sequence of a step has: prefill, decode, or a mixture."""
    return tuple(choose((1, 2, 5, 9, 17)) for _ in range(choose((1, 2, 3, 4))))


def random_module(choose: Choose) -> Module:
    """Return a module of one to three layers over 6 to 48 features."""
    return build_module(
        lambda tokens, positions, batch: _Model(choose, tokens, positions, batch).logits()
    )


class _Model(Drawing):
    """A decoder."""

    def logits(self) -> Value:
        width = self.choose((6, 16, 33, 48))
        table = self.matrix(self.choose((11, 64)), width)
        x = self.sometimes(Embedding(self.tokens, table).out)
        for layer in range(self.choose((1, 2, 3))):
            x = self._layer(layer, x)
        x = self.norm(x)
        head = table if self.choose((True, False)) else self.matrix(17, width)
        logits = Linear(x, head).out
        return Softcap(logits, cap=3.0).out if self.choose((True, False)) else logits

    def _layer(self, layer: int, x: Value) -> Value:
        """Add attention and a gated unit to x, one after the other or side by side."""
        attended = self._mixer(layer, self.norm(x))
        if self.choose((True, False)):
            return Add(Add(attended, self._unit(self.norm(x))).out, x).out
        x = Add(x, attended).out
        return Add(x, self._unit(self.norm(x))).out

    def _mixer(self, layer: int, x: Value) -> Value:
        """Return what a token takes from those before it: by attention, or by a convolution."""
        if self.choose((True, True, False)):
            return self._attention(layer, x)
        width = self.choose((2, 4))
        kind = self.choose(("none", "silu"))
        taps = self.weight((columns_of(x), width))
        return CausalConv(x, taps, self.batch, layer=layer, kind=kind).out

    def _attention(self, layer: int, x: Value) -> Value:
        heads, kv_heads = self.choose(((1, 1), (4, 2), (3, 3), (4, 1)))
        head_dim = self.choose((2, 8, 12))
        value_dim = self.choose((head_dim, head_dim, 6))
        sizes = [heads * head_dim, kv_heads * head_dim, kv_heads * value_dim]
        q, k, v = self._projections(x, sizes)
        if self.choose((True, False)):
            q, k = (
                RmsNorm(y, self.vector(head_dim), eps=1e-5, heads=n).out
                for y, n in ((q, heads), (k, kv_heads))
            )
        if self.choose((True, False)):
            frequencies = self.vector(self.choose((head_dim // 2, 1)))
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
            self.vector(heads) if self.choose((False, False, True)) else None,
            self.vector(heads) if self.choose((False, False, True)) else None,
            layer=layer,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            value_dim=value_dim,
            scale=head_dim**-0.5,
            window=self.choose((0, 4)),
            softcap=self.choose((0.0, 5.0)),
        ).out
        return self.linear(attended, columns_of(x))

    def _projections(self, x: Value, sizes: Sequence[int]) -> list[Value]:
        """Return linears of x: one each, or one for all with slices of its result."""
        if self.choose((True, False)):
            return [self.linear(x, size) for size in sizes]
        fused = self.linear(x, sum(sizes))
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        return [Slice(fused, offset=a, size=n).out for a, n in zip(starts, sizes, strict=True)]

    def _experts(self, x: Value) -> Value:
        """Return a layer of experts, of which each token takes some."""
        experts, hidden = self.choose(((2, 32), (4, 16)))
        route = Route(
            self.linear(x, experts),
            experts_per_token=self.choose((1, 2)),
            score=self.choose(("softmax", "sigmoid")),
            normalize=self.choose((True, False)),
        )
        up = self.matrix(experts * 2 * hidden, columns_of(x))
        down = self.matrix(experts * columns_of(x), hidden)
        unit = ExpertUnit("silu")
        return Experts(x, route.indices, route.weights, up, down, experts=experts, unit=unit).out

    def _unit(self, x: Value) -> Value:
        if self.choose((False, False, False, True)):
            return self._experts(x)
        hidden = self.choose((7, 32, 40))
        kind = self.choose(tuple(ACTIVATIONS))
        gate = self.linear(x, hidden)
        if self.choose((True, False)):
            y = Glu(gate, self.linear(x, hidden), kind=kind).out
        elif self.choose((True, False)):
            y = Mul(Activation(gate, kind=kind).out, self.linear(x, hidden)).out
        else:
            y = Activation(gate, kind=kind).out
        return self.sometimes(self.linear(y, columns_of(x)))
