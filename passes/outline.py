"""Moves what no pattern raised to functions of its own, for a general route to compile."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ingot.errors import UnsupportedError
from ingot.ir import (
    DYNAMIC,
    Block,
    FromTorch,
    FunctionType,
    InsertionPoint,
    Location,
    Module,
    Operation,
    OpView,
    ToTorch,
    TypeAttr,
    Value,
    before,
    func,
    place_of,
    torch_dialect,
)

from .bridging import (
    as_torch,
    constant,
    integer,
    integers,
    mixes_tokens,
    regrouped,
    shape,
    torch_tensor,
    viewed,
)
from .bridging.decompositions import softplus
from .bridging.remainder import bridges_of, copies_for, crossings, remainders
from .canonicalize import merge_equal
from .core import EXACT, Contract, Pass, erase_dead, ops_of, pattern, replace, rewrite, step_block

PREFIX = "remainder"


@dataclass(frozen=True)
class Outline(Pass):
    """Move each connected remainder of torch ops to a private function and call it there.

    Refuses an op that does not treat every token alone, by its name and place in the model.
    """

    contract: ClassVar[Contract] = EXACT

    def run(self, module: Module) -> None:
        block = step_block(module)
        for op in _unraised_ops(module):
            reason = mixes_tokens(op)
            if reason:
                raise _refused(op, reason)
        _bridge_crossings(block)
        functions = {_key(f): f.name.value for f in module.functions if _is_remainder(f)}
        for group in remainders(block):
            _outline(module, group, functions)
        _sort(block)
        erase_dead(block)


@dataclass(frozen=True)
class Unraised:
    """A torch op that no pattern raised, where it comes from, and why it is refused, if it is."""

    op: str
    place: str
    refusal: str


def unraised(module: Module) -> list[Unraised]:
    """List what `outline` would move to functions or refuse, in the order of the module."""
    return [
        Unraised(_name(op), _origin(op.location), mixes_tokens(op))
        for op in _unraised_ops(module)
        if not op.operation.name.startswith("torch.prim.")
    ]


def _unraised_ops(module: Module) -> list[OpView]:
    rewrite(module, [known_sizes, size, softplus])
    block = step_block(module)
    merge_equal(block)
    erase_dead(block)
    return [op for group in remainders(block) for op in group]


@pattern
def known_sizes(op: torch_dialect.AtenViewOp | torch_dialect.AtenReshapeOp) -> None:
    """A reshape that names the number of tokens: -1 stands for the one size that is not known.

    So a remainder does not depend on the tokens for their number alone.
    """
    tensor = torch_tensor(op.result)
    if tensor is None or tensor.shape.count(DYNAMIC) > 1:
        return
    if any(size is None for size in integers(op.operands[1])):
        replace(op, viewed(op.operands[0], tensor.shape))


@pattern
def size(op: torch_dialect.AtenSizeIntOp) -> None:
    """One size of a tensor: a constant, or the number of tokens, which any tensor may give."""
    x, dim = op.operands
    sizes, index = shape(x), integer(dim)
    if not sizes or index is None:
        return
    if sizes[index] != DYNAMIC:
        replace(op, constant(sizes[index], op.result))
    elif not isinstance(x.owner, ToTorch):
        tokens = ToTorch(op.operation.block.arguments[0]).out
        int_type = op.result.type
        replace(op, torch_dialect.AtenSizeIntOp(tokens, constant(1, x), results=[int_type]).result)


def _name(op: OpView) -> str:
    name: str = op.operation.name.removeprefix("torch.")
    if name == "operator":
        name = op.operation.attributes["name"].value.removeprefix("torch.")
    return name


def _refused(op: OpView, reason: str) -> UnsupportedError:
    return UnsupportedError(
        f"{_name(op)} cannot be compiled: no pattern raises it, and as torch op it {reason}",
        where=_origin(op.location),
        hint="Add a pattern to passes/raising that raises it to an op of the lm dialect.",
    )


def _origin(location: Location) -> str:
    """Return the module path in the model and the source line that a location names."""
    module = re.match(r'loc\("([^"]+)"\(', str(location))
    place = place_of(location)
    return f"{module[1]} ({place})" if module and place else place or "step"


def _bridge_crossings(block: Block) -> None:
    """Let torch ops read tensors of a lower level through values outside torch.

    Each such tensor leaves torch once; what rearranges it again belongs to each reader.
    """
    outside: dict[Value, Value] = {}
    while found := crossings(block):
        for op, index in found:
            operand = op.operation.operands[index]
            with before(op):
                if operand not in outside:
                    outside[operand] = _outside(operand, op)
                back = as_torch(outside[operand], operand.type)
            op.operation.operands[index] = back


def _outside(tensor: Value, reader: OpView) -> Value:
    """Return `tensor` as a value outside torch; refuse what cannot be one."""
    value = regrouped(tensor)
    if value is not None:
        return value
    sizes = shape(tensor)
    if torch_tensor(tensor) is None or (DYNAMIC in sizes and sizes[:2] != (1, DYNAMIC)):
        raise _refused(reader, f"reads {tensor.type} that was made before an op of lm")
    return FromTorch(tensor).out


def _outline(module: Module, group: Sequence[OpView], functions: dict[str, str]) -> None:
    """Replace `group` by a call of a function with its ops; equal groups share one function."""
    inside = [*copies_for(group), *group]
    bridges = bridges_of(inside)
    leaving = [
        use.owner
        for op in group
        for result in op.operation.results
        for use in result.uses
        if isinstance(use.owner, FromTorch)
    ]
    name = f"{PREFIX}_{len(functions)}"
    function = _function(module, name, inside, bridges, leaving)
    shared = functions.setdefault(_key(function), name)
    if shared != name:
        function.operation.erase()
    with before(group[-1]):
        results = [bridge.out.type for bridge in leaving]
        call = func.CallOp(results, shared, [bridge.x for bridge in bridges])
    for bridge, result in zip(leaving, call.operation.results, strict=True):
        bridge.out.replace_all_uses_with(result)


def _is_remainder(function: func.FuncOp) -> bool:
    return bool(re.fullmatch(rf"{PREFIX}_\d+", function.name.value))


def _key(function: func.FuncOp) -> str:
    """Return a text that functions of equal bodies share."""
    text = str(function.operation.get_asm(print_generic_op_form=True))
    return text.replace(f'"{function.name.value}"', "")


def _function(
    module: Module,
    name: str,
    inside: Sequence[OpView],
    bridges: Sequence[ToTorch],
    leaving: Sequence[FromTorch],
) -> func.FuncOp:
    """Build the private function that computes `leaving` from what `bridges` bring."""
    inputs = [bridge.x.type for bridge in bridges]
    outputs = [bridge.out.type for bridge in leaving]
    kind = FunctionType.get(inputs, outputs, module.context)
    location = inside[-1].location
    with InsertionPoint(module.mlir.body), location:
        function = func.FuncOp(name, TypeAttr.get(kind).value, visibility="private")
        entry = function.add_entry_block()
    with InsertionPoint(entry), location:
        values: dict[Value, Value] = {}
        for bridge, argument in zip(bridges, entry.arguments, strict=True):
            values[bridge.out] = ToTorch(argument).out
        for op in inside:
            copy = op.operation.clone()
            for index, operand in enumerate(op.operation.operands):
                copy.operands[index] = values[operand]
            values.update(zip(op.operation.results, copy.results, strict=True))
        func.ReturnOp([FromTorch(values[bridge.x]).out for bridge in leaving])
    merge_equal(entry)
    erase_dead(entry)
    return function


def _sort(block: Block) -> None:
    """Put every op after those that make its operands; else the order stays."""
    *body, end = ops_of(block)
    placed: set[Operation] = set()

    def place(op: Operation) -> None:
        if op in placed:
            return
        placed.add(op)
        for operand in op.operands:
            if isinstance(operand.owner, OpView):
                place(operand.owner.operation)
        op.move_before(end.operation)

    for op in body:
        place(op.operation)
