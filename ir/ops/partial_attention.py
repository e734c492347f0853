"""`lm.partial_attention`: attention over the part of a KV cache that a device keeps."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from ingot.ir.attentions import attention_cost, check_attention, scoring_of
from ingot.ir.checks import require_activation, require_heads, require_positive
from ingot.ir.collectives import place_along, require_devices
from ingot.ir.interpreter.attention import (
    Scoring,
    Share,
    Sight,
    ragged_partial_attention,
)
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import AttributeValue, OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import batch_of, split_heads, tensor_of
from ingot.ir.types import activation_type

PAGE_TOKENS = 16


class PartialAttention(Op, name="partial_attention"):
    """`lm.attention` over the tokens that this device keeps, with the sums needed to merge.

    The device whose place along `axis` is c keeps the tokens at positions with
    position // page_tokens % size = c, and forgets the k and v of others.  `lse` `[T, heads]` is
    the logarithm of the sum of exp(score) over what is seen here: -inf where that is nothing, and
    y then 0.
    A sink is counted on the first device.  `lm.merge_attention` makes the whole of both.
    """

    pure = False
    collective = True

    q: Value
    k: Value
    v: Value
    batch: Value
    layer: int
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    scale: float
    causal: bool
    window: int
    chunk: int
    softcap: float
    axis: str
    size: int
    page_tokens: int
    out: OpResult
    lse: OpResult
    sinks: Value | None = None
    slopes: Value | None = None

    def __init__(
        self,
        q: Value,
        k: Value,
        v: Value,
        batch: Value,
        sinks: Value | None = None,
        slopes: Value | None = None,
        *,
        axis: str,
        size: int,
        layer: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        scale: float,
        page_tokens: int = PAGE_TOKENS,
        value_dim: int = 0,
        causal: bool = True,
        window: int = 0,
        chunk: int = 0,
        softcap: float = 0.0,
        **place: Unpack[Place],
    ) -> None:
        attributes: dict[str, AttributeValue] = {
            "layer": layer,
            "heads": heads,
            "kv_heads": kv_heads,
            "head_dim": head_dim,
            "value_dim": value_dim,
            "scale": scale,
            "causal": causal,
            "window": window,
            "chunk": chunk,
            "softcap": softcap,
            "axis": axis,
            "size": size,
            "page_tokens": page_tokens,
        }
        widths = heads * (value_dim or head_dim), heads
        targets = [activation_type(width, q.context) for width in widths]
        self.build([q, k, v, batch, sinks, slopes], targets, attributes, **place)

    @property
    def value_features(self) -> int:
        """Features of a head's values and of its result."""
        return self.value_dim or self.head_dim

    @property
    def sight(self) -> Sight:
        """Which tokens a token sees, here or elsewhere."""
        return Sight(self.causal, self.window, self.chunk)

    def check(self) -> None:
        require_devices(self.axis, self.size)
        require_positive("page_tokens", self.page_tokens)
        check_attention(self)
        require_heads("the result", self.out, self.heads, self.value_features)
        require_activation("lse", self.lse, self.heads)

    def varies(self, operands: frozenset[str]) -> frozenset[str]:
        return operands | {self.axis} if self.size > 1 else operands

    def across(
        self, inputs: Sequence[Sequence[Datum]], coordinates: Sequence[Mapping[str, int]]
    ) -> list[Datum | tuple[Datum, ...]]:
        return [
            self._part(own, place_along(self.axis, self.size, places))
            for own, places in zip(inputs, coordinates, strict=True)
        ]

    def _part(self, inputs: Sequence[Datum], place: int) -> tuple[Datum, ...]:
        q, k, v = (tensor_of(datum) for datum in inputs[:3])
        scoring = scoring_of(self, inputs[4:])
        if place:
            scoring = Scoring(scoring.scale, scoring.softcap, None, scoring.slopes)
        y, lse = ragged_partial_attention(
            split_heads(q, self.heads),
            split_heads(k, self.kv_heads),
            split_heads(v, self.kv_heads),
            batch_of(inputs[3]),
            layer=self.layer,
            scoring=scoring,
            sight=self.sight,
            share=Share(place, self.size, self.page_tokens),
        )
        return y.flatten(-2), lse

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Take the tokens as one sequence after `context` cached ones; 1 / size of all is here."""
        return attention_cost(self, tokens, context, self.size)
