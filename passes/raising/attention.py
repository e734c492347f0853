"""Raises the opaque attention op that the front end traces."""

from ingot.ir import Attention, BatchType, Value, torch_dialect
from ingot.passes.bridging import (
    Arrangement,
    arrangement,
    as_torch,
    is_none,
    number,
    shape,
    weight,
)
from ingot.passes.core import pattern, replace
from ingot.passes.reading import features


@pattern(benefit=2)
def attention(op: torch_dialect.OperatorOp) -> None:
    """`ingot.attention(q, k, v, sinks, slopes, layer, scale, causal, window, chunk, softcap)`."""
    if op.attributes["name"].value != "torch.ingot.attention":
        return
    q, k, v, *vectors = op.operands[:5]
    numbers = [number(constant) for constant in op.operands[5:]]
    batch = _batch(op)
    first = (arrangement(shape(t)) is Arrangement.HEADS_FIRST for t in (q, k, v))
    if batch is None or None in numbers or not all(first):
        return
    layer, scale, causal, window, chunk, softcap = (value or 0 for value in numbers)
    queries, keys, values = features(q), features(k), features(v)
    stored = [None if is_none(vector) else weight(vector) for vector in vectors]
    found = all(w or is_none(vector) for w, vector in zip(stored, vectors, strict=True))
    if queries is None or keys is None or values is None or not found:
        return
    attended = Attention(
        queries,
        keys,
        values,
        batch,
        *stored,
        layer=int(layer),
        heads=shape(q)[1],
        kv_heads=shape(k)[1],
        head_dim=shape(q)[3],
        value_dim=0 if shape(v)[3] == shape(q)[3] else shape(v)[3],
        scale=float(scale),
        causal=bool(causal),
        window=int(window),
        chunk=int(chunk),
        softcap=float(softcap),
    )
    replace(op, as_torch(attended.out, op.results[0].type))


def _batch(op: torch_dialect.OperatorOp) -> Value | None:
    """Return the argument of the step that stands for its batch."""
    arguments = op.operation.block.arguments
    return next((one for one in arguments if isinstance(one.type, BatchType)), None)
