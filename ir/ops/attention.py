"""`lm.attention`: attention of a ragged batch over its KV cache."""

from typing import Unpack

from torch import Tensor

from ingot.ir.attentions import attention_cost, check_attention, scoring_of
from ingot.ir.checks import require_heads
from ingot.ir.interpreter.attention import Sight, ragged_attention
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
        check_attention(self)
        require_heads("the result", self.out, self.heads, self.value_features)

    def reference(self, *inputs: Datum) -> Tensor:
        q, k, v = (tensor_of(datum) for datum in inputs[:3])
        return ragged_attention(
            split_heads(q, self.heads),
            split_heads(k, self.kv_heads),
            split_heads(v, self.kv_heads),
            batch_of(inputs[3]),
            layer=self.layer,
            scoring=scoring_of(self, inputs[4:]),
            sight=self.sight,
        ).flatten(-2)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Take the tokens as one sequence after `context` cached ones; the cache as float32."""
        return attention_cost(self, tokens, context)
