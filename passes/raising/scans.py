"""Raises the opaque scans of state space models and of linear attention."""

from ingot.ir import DeltaRule, SelectiveScan, SsmScan, Value, torch_dialect
from ingot.passes.bridging import (
    as_torch,
    batch_of,
    integer,
    is_none,
    is_opaque,
    number,
    shape,
    weight,
)
from ingot.passes.core import pattern, replace
from ingot.passes.reading import features


@pattern
def ssm_scan(op: torch_dialect.OperatorOp) -> None:
    """`ingot.ssm_scan(x, dt, a, b, c, d, layer)`, of Mamba-2."""
    if not is_opaque(op, "ssm_scan"):
        return
    x, dt, a, b, c, d, layer = op.operands
    found = _read(op, (x, dt, b, c), (a, d), layer)
    if found is None:
        return
    (rows, steps, columns, outputs), (rates, skip), batch, index = found
    made = SsmScan(
        rows,
        steps,
        rates,
        columns,
        outputs,
        batch,
        skip,
        layer=index,
        heads=shape(x)[2],
        groups=shape(b)[2],
    )
    replace(op, as_torch(made.out, op.results[0].type))


@pattern
def selective_scan(op: torch_dialect.OperatorOp) -> None:
    """`ingot.selective_scan(x, dt, a, b, c, d, layer)`, of Mamba."""
    if not is_opaque(op, "selective_scan"):
        return
    x, dt, a, b, c, d, layer = op.operands
    found = _read(op, (x, dt, b, c), (a, d), layer)
    if found is None:
        return
    (rows, steps, columns, outputs), (rates, skip), batch, index = found
    made = SelectiveScan(rows, steps, rates, columns, outputs, batch, skip, layer=index)
    replace(op, as_torch(made.out, op.results[0].type))


@pattern
def delta_rule(op: torch_dialect.OperatorOp) -> None:
    """`ingot.delta_rule(q, k, v, g, beta, layer, normalize)`, of gated delta networks."""
    if not is_opaque(op, "delta_rule"):
        return
    q, k, v, g, beta, layer, normalize = op.operands
    found = _read(op, (q, k, v, g, beta), (), layer)
    if found is None:
        return
    (queries, keys, values, decays, rates), _, batch, index = found
    made = DeltaRule(
        queries,
        keys,
        values,
        decays,
        rates,
        batch,
        layer=index,
        heads=shape(v)[2],
        key_heads=shape(q)[2],
        scale=shape(q)[3] ** -0.5,
        normalize=bool(number(normalize)),
    )
    replace(op, as_torch(made.out, op.results[0].type))


_Found = tuple[list[Value], list[Value | None], Value, int]


def _read(
    op: torch_dialect.OperatorOp,
    tensors: tuple[Value, ...],
    weights: tuple[Value, ...],
    layer: Value,
) -> _Found | None:
    """Return the activations, the weights (None for absent ones), the batch and the layer."""
    stored = [None if is_none(one) else weight(one) for one in weights]
    present = all(w or is_none(one) for w, one in zip(stored, weights, strict=True))
    batch, index = batch_of(op), integer(layer)
    if not present or batch is None or index is None:
        return None
    rows = [found for one in tensors if (found := features(one)) is not None]
    return (rows, stored, batch, index) if len(rows) == len(tensors) else None
