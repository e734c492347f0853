"""`lm.attention`: causal attention of a ragged batch over its KV cache."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require, require_batch, require_heads, require_positive
from ingot.ir.interpreter.attention import ragged_attention
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import batch_of, split_heads, tensor_of
from ingot.ir.types import activation_type


class Attention(Op, name="attention"):
    """Appends k and v to the cache of `layer`, then attends from every token to all before it.

    q `[T, heads x head_dim]`, k and v `[T, kv_heads x head_dim]`; query head h reads KV head
    `h // (heads / kv_heads)`.  Scores are `softcap * tanh(q.k * scale / softcap)`, without the cap
    where softcap is 0.  With `window` w > 0 a token sees itself and the w - 1 tokens before it.
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
    scale: float
    window: int
    softcap: float
    out: OpResult

    def __init__(
        self,
        q: Value,
        k: Value,
        v: Value,
        batch: Value,
        *,
        layer: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        scale: float,
        window: int = 0,
        softcap: float = 0.0,
        **place: Unpack[Place],
    ) -> None:
        attributes = {
            "layer": layer,
            "heads": heads,
            "kv_heads": kv_heads,
            "head_dim": head_dim,
            "scale": scale,
            "window": window,
            "softcap": softcap,
        }
        target = activation_type(heads * head_dim, q.context)
        self.build([q, k, v, batch], [target], attributes, **place)

    def check(self) -> None:
        for name in ("heads", "kv_heads", "head_dim", "scale"):
            require_positive(name, getattr(self, name))
        for name in ("layer", "window", "softcap"):
            value = getattr(self, name)
            require(value >= 0, f"needs {name} of 0 or more, found {value:g}")
        require(
            self.heads % self.kv_heads == 0,
            f"needs heads that kv_heads divide, found {self.heads} and {self.kv_heads}",
        )
        require_heads("q", self.q, self.heads, self.head_dim)
        require_heads("k", self.k, self.kv_heads, self.head_dim)
        require_heads("v", self.v, self.kv_heads, self.head_dim)
        require_batch("batch", self.batch)
        require_heads("the result", self.out, self.heads, self.head_dim)

    def reference(self, *inputs: Datum) -> Tensor:
        q, k, v = (tensor_of(datum) for datum in inputs[:3])
        return ragged_attention(
            split_heads(q, self.heads),
            split_heads(k, self.kv_heads),
            split_heads(v, self.kv_heads),
            batch_of(inputs[3]),
            layer=self.layer,
            scale=self.scale,
            window=self.window,
            softcap=self.softcap,
        ).flatten(-2)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Take the tokens as one sequence after `context` cached ones; the cache as float32."""
        seen = sum(self._visible(context + index) for index in range(tokens))
        width = self.head_dim * (self.heads + 2 * self.kv_heads)
        history = 2 * self._visible(context + tokens - 1) * self.kv_heads * self.head_dim
        result = tokens * self.heads * self.head_dim
        return Cost(4 * seen * self.heads * self.head_dim, 4 * (tokens * width + history + result))

    def _visible(self, position: int) -> int:
        return min(position + 1, self.window or position + 1)
