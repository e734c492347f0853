"""Raises the opaque attention op that the front end traces."""

from ingot.ir import Attention, BatchType, Value, torch_dialect
from ingot.passes.bridging import (
    Arrangement,
    arrangement,
    as_torch,
    features,
    is_none,
    number,
    shape,
)
from ingot.passes.core import pattern, replace


@pattern
def attention(op: torch_dialect.OperatorOp) -> None:
    """`ingot.attention(q, k, v, sinks, layer, scale, causal, window, softcap)` without sinks."""
    if op.attributes["name"].value != "torch.ingot.attention":
        return
    q, k, v, sinks, *constants = op.operands
    numbers = [number(constant) for constant in constants]
    batch = _batch(op)
    first = (arrangement(shape(t)) is Arrangement.HEADS_FIRST for t in (q, k, v))
    if batch is None or not is_none(sinks) or None in numbers or not all(first):
        return
    layer, scale, causal, window, softcap = (value or 0 for value in numbers)
    head_dim = shape(q)[3]
    if not causal or shape(k)[3] != head_dim or shape(v)[3] != head_dim:
        return
    queries, keys, values = features(q), features(k), features(v)
    if queries is None or keys is None or values is None:
        return
    attended = Attention(
        queries,
        keys,
        values,
        batch,
        layer=int(layer),
        heads=shape(q)[1],
        kv_heads=shape(k)[1],
        head_dim=head_dim,
        scale=float(scale),
        window=int(window),
        softcap=float(softcap),
    )
    replace(op, as_torch(attended.out, op.results[0].type))


def _batch(op: torch_dialect.OperatorOp) -> Value | None:
    """Return the argument of the step that stands for its batch."""
    arguments = op.operation.block.arguments
    return next((one for one in arguments if isinstance(one.type, BatchType)), None)
