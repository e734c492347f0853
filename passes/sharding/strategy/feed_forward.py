"""Divides pairs of linears with element-wise functions between them, by the features between."""

from ingot.ir import (
    Activation,
    AddConstant,
    Block,
    Glu,
    Linear,
    Mesh,
    Mul,
    Part,
    Scale,
    SelectRows,
    Softcap,
    Value,
    is_per_token,
    shape_of,
)
from ingot.passes.core import ops_of
from ingot.passes.sharding.readers import readers_of

from .attention import AXIS, divide_inputs
from .choices import OUTPUTS, Choices
from .needs import Needs

_ONE = Activation | AddConstant | Scale | Softcap
_TWO = Glu | Mul


def divide_feed_forward(block: Block, mesh: Mesh, choices: Choices, needs: Needs) -> None:
    """Choose for every linear that reads functions of other linears' outputs, and for those.

    Their outputs are read by nothing else; what has been chosen for before is left out.
    """
    part = Part(AXIS, mesh.size(AXIS))
    for op in ops_of(block):
        if not isinstance(op, Linear) or choices.of(op, "w") is not None:
            continue
        firsts = _firsts(op.x)
        if not firsts or any(choices.of(first, "w") is not None for first in firsts):
            continue
        if op.x.owner in firsts or any(_features(f) != shape_of(op.w)[1] for f in firsts):
            continue
        for first in firsts:
            choices.divide_linear(first, OUTPUTS, part)
        divide_inputs(op, part, choices, needs)


def _features(op: Linear) -> int:
    return shape_of(op.w)[0]


def _firsts(value: Value) -> list[Linear]:
    """Return the linears that `value` is an element-wise function of; none if of something else."""
    op = value.owner
    if isinstance(op, Linear):
        return [op] if len(readers_of(op.out)) == 1 or _only_here(op.out) else []
    if isinstance(op, _ONE) or (isinstance(op, SelectRows) and is_per_token(op.x)):
        return _firsts(op.x)
    if isinstance(op, _TWO):
        operands = [operand for operand in op.operation.operands if is_per_token(operand)]
        found = [_firsts(operand) for operand in operands]
        return [one for each in found for one in each] if all(found) else []
    return []


def _only_here(value: Value) -> bool:
    """Return whether element-wise functions alone read `value`: `silu(x) · x` reads it twice."""
    return all(isinstance(reader, _ONE | _TWO) for reader in readers_of(value))
