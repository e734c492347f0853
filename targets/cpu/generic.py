"""The general route: a remainder of torch ops becomes a kernel through torch-mlir's conversions.

torch, linalg on tensors, buffers, loops, the llvm dialect.  It is correct, not fast: scalar loops
that allocate their temporaries with malloc.  Every token is treated alone (the `outline` pass sees
to that), so a unit of work is a row, and a row's bits depend on nothing else.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ingot.errors import UnsupportedError
from ingot.ir import (
    Block,
    FromTorch,
    FunctionType,
    InsertionPoint,
    MlirModule,
    Operation,
    OpView,
    ToTorch,
    TypeAttr,
    func,
    ir,
    llvm,
)

from . import generic_worker
from .build import I64, Pointer, Value, constant
from .generic_bridge import Passed, entry_text, passed_of
from .kernel import Arguments, Kernel, Slot
from .levels import Level

_COMMAND = [sys.executable, "-P", str(Path(generic_worker.__file__))]
_HINT = (
    "Add a pattern to passes/raising that raises it to an op of the lm dialect, or leave it out of"
    " the model."
)


def remainder_kernel(function: func.FuncOp) -> Kernel:
    """Compile a function that the `outline` pass made; the kernel bears its name.

    A unit is a token.  Slots: for argument i `x{i}`, and `x{i}_stride` (bytes) where it has a row a
    token; for result i `y{i}` and `y{i}_stride`.  Token ids and positions have a stride of 4;
    weights are row-major, in the type of the argument.

    Raises UnsupportedError, naming the op and its place in the model, if it cannot be converted.
    """
    name = function.name.value
    inputs, outputs = _signature(function)
    request = {
        "body": _torch_body(function),
        "entry": entry_text(inputs, outputs),
        "name": f"{name}.entry",
    }
    lowered = _convert(name, request)
    slots = (*_slots("x", inputs), *_slots("y", outputs))
    return Kernel(name, slots, partial(_body, f"{name}.entry", lowered, inputs, outputs))


def _signature(function: func.FuncOp) -> tuple[tuple[Passed, ...], tuple[Passed, ...]]:
    block = function.entry_block
    inputs = [(argument.type, _torch_use(argument).out.type) for argument in block.arguments]
    outputs = [(value.type, value.owner.x.type) for value in _return_of(block).operands]
    described = [[passed_of(*types) for types in group] for group in (inputs, outputs)]
    return tuple(described[0]), tuple(described[1])


def _torch_use(argument: ir.BlockArgument) -> ToTorch:
    users = [use.owner for use in argument.uses]
    assert users and all(isinstance(user, ToTorch) for user in users), "arguments cross a bridge"
    first: ToTorch = users[0]
    return first


def _return_of(block: Block) -> Operation:
    end: OpView = list(block.operations)[-1]
    assert end.operation.name == "func.return"
    return end.operation


def _torch_body(function: func.FuncOp) -> str:
    """Return a module whose `torch_body` has the ops between the bridges, on torch's own types."""
    with function.context, function.location:
        module = MlirModule.create()
        body = function.operation.clone(ip=InsertionPoint(module.body))
        block = body.regions[0].blocks[0]
        for argument in block.arguments:
            bridges = [use.owner for use in argument.uses]
            argument.set_type(bridges[0].out.type)
            for bridge in bridges:
                bridge.out.replace_all_uses_with(argument)
                bridge.operation.erase()
        end = _return_of(block)
        for index, value in enumerate(list(end.operands)):
            bridge = value.owner
            assert isinstance(bridge, FromTorch)
            end.operands[index] = bridge.x
        for op in [op for op in block.operations if isinstance(op, FromTorch)]:
            op.operation.erase()
        kind = FunctionType.get(
            [argument.type for argument in block.arguments], [v.type for v in end.operands]
        )
        body.attributes["function_type"] = TypeAttr.get(kind)
        body.attributes["sym_name"] = ir.StringAttr.get("torch_body")
        body.attributes["sym_visibility"] = ir.StringAttr.get("public")
        body.attributes["torch.assume_strict_symbolic_shapes"] = ir.UnitAttr.get()
        return str(module.operation.get_asm(enable_debug_info=True))


def _convert(name: str, request: dict[str, str]) -> str:
    finished = subprocess.run(_COMMAND, input=json.dumps(request), capture_output=True, text=True)
    if finished.returncode != 0:
        raise UnsupportedError(
            f"the conversion of these torch ops ended with status {finished.returncode}: "
            f"{', '.join(_torch_ops(request['body']))}",
            where=name,
            hint=_HINT,
        )
    answer = json.loads(finished.stdout)
    if "error" in answer:
        raise UnsupportedError(
            f"torch-mlir cannot convert it: {answer['error']}",
            where=_origin(answer["location"]) or name,
            hint=_HINT,
        )
    return str(answer["mlir"])


def _torch_ops(text: str) -> list[str]:
    return sorted(set(re.findall(r"torch\.(aten\.[\w.]+)", text)))


def _origin(location: str) -> str:
    """Return the module path in the model and the source line in MLIR's text of a location."""
    module = re.match(r'loc\("([^"]+)"\(', location)
    line = re.search(r'"([^"]+\.py)":(\d+)', location)
    place = f"{line[1]}:{line[2]}" if line else ""
    return f"{module[1]} ({place})" if module and place else place


def _slots(letter: str, group: Sequence[Passed]) -> list[Slot]:
    slots = []
    for i, passed in enumerate(group):
        slots.append(Slot(f"{letter}{i}"))
        if passed.per_token:
            slots.append(Slot(f"{letter}{i}_stride", "integer"))
    return slots


def _body(
    entry: str,
    lowered: str,
    inputs: Sequence[Passed],
    outputs: Sequence[Passed],
    level: Level,
    arguments: Arguments,
) -> None:
    _define(lowered)
    named = [(f"x{i}", p) for i, p in enumerate(inputs)]
    named += [(f"y{i}", p) for i, p in enumerate(outputs)]
    operands = [operand for name, p in named for operand in _descriptor(arguments, name, p)]
    llvm.call(None, [operand.mlir for operand in operands], [], [], callee=entry)


def _define(lowered: str) -> None:
    """Add the lowered functions, compiled for the kernel's instruction set, to its module."""
    kernel = InsertionPoint.current.block.owner
    module = kernel.parent
    block = module.regions[0].blocks[0]
    known = {ir.StringAttr(op.attributes["sym_name"]).value for op in block.operations}
    for op in MlirModule.parse(lowered).body.operations:
        if ir.StringAttr(op.attributes["sym_name"]).value in known:
            continue
        copy = op.operation.clone(ip=InsertionPoint.at_block_begin(block))
        if op.operation.name == "llvm.func" and op.operation.regions[0].blocks:
            copy.attributes["passthrough"] = kernel.attributes["llvm.passthrough"]
            copy.attributes["linkage"] = ir.Attribute.parse("#llvm.linkage<internal>")


def _descriptor(arguments: Arguments, name: str, p: Passed) -> list[Pointer | Value]:
    """Return what MLIR passes for a memref: two addresses, an offset, sizes and strides."""
    address = arguments.pointer(name)
    sizes: list[int | Value] = list(p.shape)
    strides: list[int | Value | None] = list(p.strides)
    if p.per_token:
        stride = arguments.integer(f"{name}_stride")
        address = address.at(arguments.begin * stride)
        sizes[0] = arguments.end - arguments.begin
        strides[0] = stride // p.element_bytes
    numbers = [0, *sizes, *strides]
    values = [v if isinstance(v, Value) else constant(I64, v or 0) for v in numbers]
    return [address, address, *values]
