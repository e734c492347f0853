"""Raises the opaque pooling that the front end traces, and the normalisation behind it."""

from ingot.ir import BatchType, L2Normalize, Pool, torch_dialect
from ingot.passes.bridging import as_torch, is_number, items, number, same, shape, text
from ingot.passes.core import pattern, producer, replace
from ingot.passes.reading import features


@pattern
def pool(op: torch_dialect.OperatorOp) -> None:
    """`ingot.pool(hidden, kind)`."""
    if op.attributes["name"].value != "torch.ingot.pool":
        return
    hidden, kind = op.operands
    arguments = op.operation.block.arguments
    batch = next((one for one in arguments if isinstance(one.type, BatchType)), None)
    rows, name = features(hidden), text(kind)
    if rows is not None and name is not None and batch is not None:
        replace(op, as_torch(Pool(rows, batch, kind=name).out, op.results[0].type))


@pattern(benefit=2)
def l2_normalize(op: torch_dialect.AtenDivTensorOp) -> None:
    """`x / clamp_min(linalg_vector_norm(x, 2, [-1], keepdim), eps)`."""
    x, divisor = op.operands
    broadcast = same(divisor)
    if isinstance(broadcast.owner, torch_dialect.AtenExpandOp | torch_dialect.AtenExpandAsOp):
        broadcast = same(broadcast.owner.operands[0])
    floor = producer(broadcast, torch_dialect.AtenClampMinOp)
    norm = floor and producer(same(floor.operands[0]), torch_dialect.AtenLinalgVectorNormOp)
    if norm is None or floor is None or same(norm.operands[0]) != same(x):
        return
    eps, order, dims = number(floor.operands[1]), norm.operands[1], items(norm.operands[2])
    last = len(dims) == 1 and number(dims[0]) in (-1, len(shape(x)) - 1)
    rows = features(x) if last and is_number(order, 2) and len(shape(x)) == 3 else None
    if rows is not None and eps is not None and eps > 0:
        replace(op, as_torch(L2Normalize(rows, eps=float(eps)).out, op.result.type))
