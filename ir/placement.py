"""Where on a mesh operations run and values lie: stages, and axes that values depend on."""

from collections.abc import Iterator, Mapping
from math import gcd

from .collectives import axis_of
from .mesh import AXES, DATA_AXES, Mesh
from .mlir import BlockArgument, OpView, Value, func
from .operation import Op
from .ops.dispatch import Dispatch
from .ops.experts import Experts
from .ops.send_recv import SendRecv
from .ops.shard import Shard
from .types import is_per_token, is_tensor


class Misplaced(Exception):
    """An operation that does not fit its mesh: which, and what is wrong with it."""

    def __init__(self, op: OpView, message: str) -> None:
        super().__init__(message)
        self.op = op


def is_weight_expression(value: Value) -> bool:
    """Return whether `value` depends on nothing but weights, and its device's place."""
    owner = value.owner
    if not isinstance(owner, Op) or not is_tensor(value):
        return False
    return not is_per_token(value) and all(map(is_weight_expression, owner.operands))


def axes_of(value: Value) -> tuple[str, ...]:
    """Return the axes of a mesh along which devices hold different parts of a weight expression.

    In the order of `AXES`; none for a weight that every device holds whole.
    """
    found = {shard.axis for shard in _shards(value) if shard.parts > 1}
    return tuple(axis for axis in AXES if axis in found)


def part_coordinates(value: Value, coordinates: Mapping[str, int]) -> dict[str, int]:
    """Return the place, along `axes_of(value)` alone, that stands for the part held there.

    Devices with one part have one such place: that of the first of them along each axis.
    """
    found = {}
    for axis in axes_of(value):
        cuts = [one for one in _shards(value) if one.axis == axis and one.parts > 1]
        together = gcd(*(one.devices_per_part for one in cuts))
        found[axis] = coordinates[axis] // together * together
    return found


def _shards(value: Value) -> Iterator[Shard]:
    owner = value.owner
    if isinstance(owner, Shard):
        yield owner
    if isinstance(owner, Op):
        for operand in owner.operands:
            yield from _shards(operand)


def varying_axes(function: func.FuncOp, mesh: Mesh) -> dict[Value, frozenset[str]]:
    """Return the axes along which devices of a stage may have different values.

    Of all values that are no weight expressions.  The inputs differ along the data axes.
    """
    inputs = frozenset(axis for axis in DATA_AXES if mesh.size(axis) > 1)
    found: dict[Value, frozenset[str]] = dict.fromkeys(function.entry_block.arguments, inputs)
    for op in function.entry_block.operations:
        if is_weight_op(op):
            continue
        operands = frozenset[str]().union(
            *(found[v] if v in found else axes_of(v) for v in op.operands)
        )
        axes = op.varies(operands) if isinstance(op, Op) else operands
        found.update(dict.fromkeys(op.results, axes))
    return found


def is_weight_op(op: OpView) -> bool:
    """Return whether all results are weight expressions, evaluated where they are read."""
    return isinstance(op, Op) and all(map(is_weight_expression, op.results))


def stages_by_op(function: func.FuncOp) -> dict[OpView, int]:
    """Return the stage of a pipeline that runs each operation; weight expressions are left out.

    That of the operands which operations made, 0 without any; that of `lm.send_recv` is the one
    that receives.  Raises `Misplaced` for an operation that reads values of other stages.
    """
    found: dict[OpView, int] = {}
    for op in function.entry_block.operations:
        if is_weight_op(op):
            continue
        made = [v for v in op.operands if not isinstance(v, BlockArgument)]
        reads = {found[v.owner] for v in made if not is_weight_expression(v)}
        if len(reads) > 1:
            stages = " and ".join(map(str, sorted(reads)))
            raise Misplaced(op, f"reads values of the stages {stages}; lm.send_recv hands them on")
        stage = max(reads, default=0)
        if isinstance(op, SendRecv):
            if op.stage != stage + 1:
                raise Misplaced(op, f"hands a value of stage {stage} to stage {op.stage}")
            stage = op.stage
        found[op] = stage
    return found


def _check_absent_choices(op: Experts) -> None:
    """Require choices of experts elsewhere, which have weight 0, to add nothing."""
    unit = op.unit
    silent = unit.kind not in ("sigmoid", "softplus") or (unit.gated and not unit.up_shift)
    if op.weigh_input and (op.down_bias is not None or not silent):
        raise Misplaced(op, "weighs its input, so that experts elsewhere would add to its result")


def check_placement(function: func.FuncOp, mesh: Mesh) -> None:
    """Raise `Misplaced` for an operation that is for another mesh."""
    for op in function.entry_block.operations:
        if not isinstance(op, Op) or not op.collective or isinstance(op, SendRecv):
            continue
        axis, size = axis_of(op), int(op.size)
        if size != mesh.size(axis):
            message = f"is for {size} devices along {axis}, the mesh {mesh} has {mesh.size(axis)}"
            raise Misplaced(op, message)
    for op in function.entry_block.operations:
        if isinstance(op, Experts) and isinstance(op.indices.owner, Dispatch):
            _check_absent_choices(op)
    for op, stage in stages_by_op(function).items():
        if stage >= mesh.size("pp"):
            raise Misplaced(op, f"is of stage {stage}, the mesh {mesh} has {mesh.size('pp')}")
