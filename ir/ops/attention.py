"""`lm.attention`: attention of a ragged batch over its KV cache."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import (
    require,
    require_batch,
    require_heads,
    require_positive,
    require_vector,
)
from ingot.ir.interpreter.attention import Scoring, Sight, ragged_attention
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import batch_of, split_heads, tensor_of
from ingot.ir.types import activation_type


class Attention(Op, name="attention"):
    """Appends k and v to the cache of `layer`, then attends from every token to those it sees.

    q `[T, heads x head_dim]`, k `[T, kv_heads x head_dim]`, v `[T, kv_heads x value_dim]` where
    value_dim 0 is head_dim; query head h reads KV head `h // (heads / kv_heads)`.  Scores are
    `softcap * tanh(q.k * scale / softcap)`, without the cap where softcap is 0, plus the head's
    slope times (key position - query position).  The head's sink is the score of one more key that
    has no value.

    A token sees itself and those before it; where `causal` is false all of its sequence, which then
    comes whole in one step.  With `window` w > 0 it sees only tokens fewer than w away, with
    `chunk` c > 0 only those of its own c (positions with the same quotient by c).
    """

    pure = False

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
    out: OpResult
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
        layer: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        scale: float,
        value_dim: int = 0,
        causal: bool = True,
        window: int = 0,
        chunk: int = 0,
        softcap: float = 0.0,
        **place: Unpack[Place],
    ) -> None:
        attributes = {
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
        }
        target = activation_type(heads * (value_dim or head_dim), q.context)
        self.build([q, k, v, batch, sinks, slopes], [target], attributes, **place)

    @property
    def value_features(self) -> int:
        """Features of a head's values and of its result."""
        return self.value_dim or self.head_dim

    @property
    def sight(self) -> Sight:
        """Which tokens a token sees."""
        return Sight(self.causal, self.window, self.chunk)

    def check(self) -> None:
        for name in ("heads", "kv_heads", "head_dim", "scale"):
            require_positive(name, getattr(self, name))
        for name in ("layer", "value_dim", "window", "chunk", "softcap"):
            value = getattr(self, name)
            require(value >= 0, f"needs {name} of 0 or more, found {value:g}")
        require(
            self.heads % self.kv_heads == 0,
            f"needs heads that kv_heads divide, found {self.heads} and {self.kv_heads}",
        )
        require(self.causal or not self.chunk, "needs causal true where there is a chunk")
        require_heads("q", self.q, self.heads, self.head_dim)
        require_heads("k", self.k, self.kv_heads, self.head_dim)
        require_heads("v", self.v, self.kv_heads, self.value_features)
        require_batch("batch", self.batch)
        for name, vector in (("sinks", self.sinks), ("slopes", self.slopes)):
            if vector is not None:
                require_vector(name, vector, self.heads)
        require_heads("the result", self.out, self.heads, self.value_features)

    def reference(self, *inputs: Datum) -> Tensor:
        q, k, v = (tensor_of(datum) for datum in inputs[:3])
        vectors = iter(tensor_of(datum) for datum in inputs[4:])
        sinks = next(vectors) if self.sinks is not None else None
        slopes = next(vectors) if self.slopes is not None else None
        return ragged_attention(
            split_heads(q, self.heads),
            split_heads(k, self.kv_heads),
            split_heads(v, self.kv_heads),
            batch_of(inputs[3]),
            layer=self.layer,
            scoring=Scoring(self.scale, self.softcap, sinks, slopes),
            sight=self.sight,
        ).flatten(-2)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Take the tokens as one sequence after `context` cached ones; the cache as float32."""
        end = context + tokens
        seen = sum(self._visible(context + index, end) for index in range(tokens))
        head = self.head_dim + self.value_features
        width = self.heads * self.head_dim + self.kv_heads * head
        history = self._visible(end - 1, end) * self.kv_heads * head
        result = tokens * self.heads * self.value_features
        return Cost(2 * seen * self.heads * head, 4 * (tokens * width + history + result))

    def _visible(self, position: int, end: int) -> int:
        """Return how many of the tokens 0 … end - 1 the one at `position` sees."""
        first, last = 0, position if self.causal else end - 1
        if self.window:
            first, last = position - self.window + 1, min(last, position + self.window - 1)
        if self.chunk:
            first = max(first, position - position % self.chunk)
        return last - max(first, 0) + 1
