"""What the operations of a step ask of a device, by their own costs.

An operation states FLOPs and bytes (`Op.cost`).  Of the bytes, those of activations are told from
those of weights and of what sequences keep, and counted as a compiler that fuses moves them: a
row-wise operation without a matrix is computed where its operand is made, so it writes its result
and reads nothing; a view moves nothing.
"""

from collections.abc import Iterable

from ingot.ir import (
    Cost,
    F32Type,
    Op,
    Value,
    bytes_of,
    encoding_of,
    is_per_token,
    is_rounded,
    logical_type,
    shape_of,
)

from .roofline import Work
from .walking import Step, Visit, name_of

KV_BITS = {"float32": 32, "bfloat16": 16, "int8": 8}
SCALE_BITS = 32
"""Of the scale of keys and of that of values, for each token and head of an int8 cache."""
ATTENTION = ("attention", "partial_attention")
VIEWS = ("slice", "arrange", "select_rows", "shift", "token_types")
ANCHORS = ("linear", "experts", "embedding", "route")
"""Operations that read their operands from memory, matrices among them."""


def work_of(visit: Visit, step: Step, kv_dtype: str) -> Work:
    """Return what one operation of a step asks of the device that runs it."""
    op, name = visit.op, name_of(visit.op)
    moved = _bytes((*op.operands, *op.results), visit.rows)
    if name in ATTENTION:
        seen = visible(op, step.context + _length(step)) / _parts(op)
        kv = step.sequences * kv_bytes(op, seen, kv_dtype)
        kind = "float32" if kv_dtype == "float32" else "bfloat16"
        return Work(kind, _of_sequences(op, step).flops, kv=kv, activations=moved)
    if op.states():
        cost = _of_sequences(op, step)
        return Work("float32", cost.flops, kv=max(0.0, cost.bytes - moved), activations=moved)
    if op.collective:
        # An exchange states its cost by the rows that a device has of its own.
        own = _cost(op, visit.rows if name == "combine" else visit.given, step.context)
        return Work("float32", own.flops, 0, 0, own.bytes, own.link_bytes, rounds(op))
    cost = _cost(op, visit.rows, step.context)
    if name in ANCHORS:
        weights = max(0.0, cost.bytes - moved)
        return Work(_kind(op), cost.flops, weights, activations=moved)
    written = 0.0 if name in VIEWS else _bytes(op.results, visit.rows)
    return Work("float32", cost.flops, activations=written)


def kv_bytes(op: Op, tokens: float, kv_dtype: str) -> float:
    """Return the bytes of `tokens` tokens of one sequence in the cache of an attention."""
    fields: dict[str, int] = {name: getattr(op, name) for name in ("kv_heads", "head_dim")}
    values = getattr(op, "value_dim", 0) or fields["head_dim"]
    bits = (fields["head_dim"] + values) * KV_BITS[kv_dtype]
    if kv_dtype == "int8":
        bits += 2 * SCALE_BITS
    return tokens * fields["kv_heads"] * bits / 8


def visible(op: Op, tokens: int) -> int:
    """Return how many of the `tokens` tokens of a sequence its last one sees."""
    for name in ("window", "chunk"):
        if bound := int(getattr(op, name, 0)):
            tokens = min(tokens, bound)
    return tokens


def rounds(op: Op) -> int:
    """Return how many messages of a collective wait for each other: a ring's, or one at a time."""
    others = int(getattr(op, "size", 2)) - 1
    return {"all_reduce": 2 * others, "shard": 0, "local_ids": 0}.get(name_of(op), others)


def _parts(op: Op) -> int:
    """Return in how many parts the tokens of a sequence lie on the devices along an axis."""
    return int(getattr(op, "size", 1))


def _length(step: Step) -> int:
    """Return the tokens that each sequence of the step has in it."""
    return -(-step.tokens // step.sequences)


def _of_sequences(op: Op, step: Step) -> Cost:
    """Return the cost of an operation that goes through every sequence alone."""
    one = _cost(op, _length(step), step.context)
    return Cost(one.flops * step.sequences, one.bytes * step.sequences)


def _cost(op: Op, rows: int, context: int) -> Cost:
    try:
        return op.cost(rows, context)
    except NotImplementedError:
        return Cost()


def _bytes(values: Iterable[Value], rows: int) -> float:
    return sum(bytes_of(value, rows) for value in values if is_per_token(value))


def _kind(op: Op) -> str:
    """Return the type of the factors of a product: that of the wider one, as it is stored."""
    encodings = [encoding_of(value) for value in op.operands if is_rounded(value)]
    if any(encoding is not None and encoding.is_integer for encoding in encodings):
        return "int8"
    matrices = [v for v in op.operands if not is_per_token(v) and len(shape_of(v)) > 1]
    floats = [v for v in matrices if encoding_of(v) is None]
    wide = any(isinstance(logical_type(value).element_type, F32Type) for value in floats)
    return "float32" if wide else "bfloat16"
