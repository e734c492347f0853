"""Divides attention by heads: the linears before it by outputs, the one behind it by inputs."""

from collections.abc import Iterator

from ingot.ir import (
    Activation,
    Add,
    AddConstant,
    Arrange,
    Attention,
    Block,
    Glu,
    L2Normalize,
    LayerNorm,
    Linear,
    Mesh,
    Mul,
    OpView,
    Part,
    RmsNorm,
    Rope,
    Scale,
    SelectRows,
    Softcap,
    Value,
    is_per_token,
    shape_of,
)
from ingot.passes.core import ops_of
from ingot.passes.sharding.divisions import kv_divides, kv_parts
from ingot.passes.sharding.readers import readers_of
from ingot.passes.sharding.rules.heads import lies_by_heads

from .choices import INPUTS, OUTPUTS, Choices
from .needs import Needs, add_inputs

AXIS = "tp"
_OF_FEATURES = Activation | AddConstant | L2Normalize | LayerNorm | RmsNorm | Rope | Scale | Softcap
"""Operations whose result has the features of their operand x, in the same order."""
_OF_TWO = Add | Mul | Glu


def divide_attention(block: Block, mesh: Mesh, choices: Choices, needs: Needs) -> None:
    """Choose for the linears of queries, keys, values and gates, and those of the results."""
    size = mesh.size(AXIS)
    for op in ops_of(block):
        if not isinstance(op, Attention):
            continue
        _require_heads(op, needs)
        keys = Part(AXIS, kv_parts(op.kv_heads, size))
        for value, part in ((op.q, Part(AXIS, size)), (op.k, keys), (op.v, keys)):
            _divide_makers(value, part, choices)
        _divide_readers(op, Part(AXIS, size), choices, needs)


def _require_heads(op: Attention, needs: Needs) -> None:
    heads, kv_heads = op.heads, op.kv_heads
    needs.add(op, AXIS, f"{heads} attention heads", lambda size: heads % size == 0)
    needs.add(op, AXIS, f"{kv_heads} key-value heads", lambda size: kv_divides(kv_heads, size))


def _divide_makers(value: Value, part: Part, choices: Choices) -> None:
    """Divide the outputs of the linears that make `value`, through what keeps features apart."""
    for op in linears_behind(value):
        if shape_of(op.w)[0] % part.parts == 0:
            choices.divide_linear(op, OUTPUTS, part)


def linears_behind(value: Value) -> Iterator[Linear]:
    """Yield the linears whose outputs are, feature by feature, what `value` is made of."""
    op = value.owner
    if isinstance(op, Linear):
        yield op
    elif isinstance(op, _OF_FEATURES | SelectRows):
        yield from linears_behind(op.x)
    elif isinstance(op, _OF_TWO):
        for operand in _both(op):
            yield from linears_behind(operand)
    elif isinstance(op, Arrange):
        for index, operand in enumerate(op.parts):
            if lies_by_heads(op, index):
                yield from linears_behind(operand)


def _both(op: OpView) -> list[Value]:
    return [operand for operand in op.operation.operands if is_per_token(operand)]


def _divide_readers(op: Attention, part: Part, choices: Choices, needs: Needs) -> None:
    """Divide the inputs of the linears that read the result, and the outputs of what gates it."""
    waiting = [op.out]
    while waiting:
        value = waiting.pop()
        for reader in readers_of(value):
            if isinstance(reader, Linear):
                divide_inputs(reader, part, choices, needs)
            elif isinstance(reader, SelectRows | Scale):
                waiting.append(reader.out)
            elif isinstance(reader, Mul):
                for operand in _both(reader):
                    if operand != value:
                        _divide_makers(operand, part, choices)
                waiting.append(reader.out)


def divide_inputs(op: Linear, part: Part, choices: Choices, needs: Needs) -> None:
    """Divide the inputs of a linear, between the groups of its encoding."""
    add_inputs(needs, op, part.axis, "input features", op.w)
    choices.divide_linear(op, INPUTS, part)
