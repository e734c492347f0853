"""What `lm.attention` and `lm.partial_attention` have in common: fields, checks and work."""

from collections.abc import Sequence
from typing import Protocol

from ingot.ir.interpreter.attention import Scoring, Sight
from ingot.ir.interpreter.values import Datum

from .checks import (
    require,
    require_batch,
    require_heads,
    require_positive,
    require_vector,
)
from .mlir import Value
from .operation import Cost
from .references import tensor_of


class AttentionFields(Protocol):
    """The operands and attributes of an operation that attends."""

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
    sinks: Value | None
    slopes: Value | None

    @property
    def value_features(self) -> int: ...

    @property
    def sight(self) -> Sight: ...


def check_attention(op: AttentionFields) -> None:
    """Raise `InvalidOp` if operands and attributes do not fit together."""
    for name in ("heads", "kv_heads", "head_dim", "scale"):
        require_positive(name, getattr(op, name))
    for name in ("layer", "value_dim", "window", "chunk", "softcap"):
        value = getattr(op, name)
        require(value >= 0, f"needs {name} of 0 or more, found {value:g}")
    require(
        op.heads % op.kv_heads == 0,
        f"needs heads that kv_heads divide, found {op.heads} and {op.kv_heads}",
    )
    require(op.causal or not op.chunk, "needs causal true where there is a chunk")
    require_heads("q", op.q, op.heads, op.head_dim)
    require_heads("k", op.k, op.kv_heads, op.head_dim)
    require_heads("v", op.v, op.kv_heads, op.value_features)
    require_batch("batch", op.batch)
    for name, vector in (("sinks", op.sinks), ("slopes", op.slopes)):
        if vector is not None:
            require_vector(name, vector, op.heads)


def scoring_of(op: AttentionFields, vectors: Sequence[Datum]) -> Scoring:
    """Return how scores are made; `vectors` are the values of sinks and slopes that there are."""
    rest = iter(tensor_of(datum) for datum in vectors)
    sinks = next(rest) if op.sinks is not None else None
    slopes = next(rest) if op.slopes is not None else None
    return Scoring(op.scale, op.softcap, sinks, slopes)


def attention_cost(op: AttentionFields, tokens: int, context: int, devices: int = 1) -> Cost:
    """Take the tokens as one sequence after `context` cached ones; the cache as float32.

    `devices` keep equal shares of the sequence.
    """
    end = context + tokens
    seen = sum(_visible(op, context + index, end) for index in range(tokens)) / devices
    head = op.head_dim + op.value_features
    width = op.heads * op.head_dim + op.kv_heads * head
    history = _visible(op, end - 1, end) * op.kv_heads * head / devices
    result = tokens * op.heads * op.value_features
    return Cost(2 * seen * op.heads * head, 4 * (tokens * width + history + result))


def _visible(op: AttentionFields, position: int, end: int) -> int:
    """Return how many of the tokens 0 … end - 1 the one at `position` sees."""
    first, last = 0, position if op.causal else end - 1
    if op.window:
        first, last = position - op.window + 1, min(last, position + op.window - 1)
    if op.chunk:
        first = max(first, position - position % op.chunk)
    return last - max(first, 0) + 1
