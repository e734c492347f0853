"""Imports a traced architecture as the step function of a module, with weights as symbols."""

import torch
from torch import fx

from ingot.errors import UnsupportedError
from ingot.ir import (
    STEP,
    BlockArgument,
    Context,
    Convert,
    Encoding,
    FromTorch,
    FunctionType,
    InsertionPoint,
    Location,
    Module,
    Quant,
    TokenTypes,
    ToTorch,
    Type,
    TypeAttr,
    Value,
    Weight,
    before,
    float_tensor,
    func,
    ir,
    mlir,
    new_context,
    step_inputs,
    tensor_type,
)

from .checkpoint import Checkpoint
from .tracing.origin import Origin
from .tracing.trace import POSITIONS, TOKEN_TYPES, TOKENS, Trace, trace
from .weights import WeightInfo

ELEMENTS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
MARK = "ingot origin"


def import_model(checkpoint: Checkpoint) -> Module:
    """Return the step function of a checkpoint's architecture in the torch dialect.

    Parameters and buffers are `lm.weight`, in the type as stored and converted to float32 where
    needed; nothing is read from the checkpoint but types.  Each operation is located by the module
    of the model and the Python line that it comes from.  Raises UnsupportedError.
    """
    traced = trace(checkpoint.config, checkpoint.head)
    origins = _mark(traced)
    importer = mlir.FxImporter(context=new_context())
    importer.import_stateless_graph(traced.graph, func_name=STEP)
    module = Module(importer.module)
    step = module.step
    _locate(step, origins)
    _bind(step, traced.arguments, checkpoint)
    return module.verified("imported model")


def _mark(traced: Trace) -> list[Origin]:
    """Write each node's number where the importer looks for its line, and return the origins.

    The importer takes locations from Python's stack traces alone, which cannot name a module.
    """
    origins: list[Origin] = []
    for node in traced.graph.nodes:
        node.meta.pop("stack_trace", None)
        if node.name in traced.origins:
            _set_line(node, len(origins))
            origins.append(traced.origins[node.name])
    return origins


def _set_line(node: fx.Node, number: int) -> None:
    node.meta["stack_trace"] = f'File "{MARK}", line {number},'


def _locate(step: func.FuncOp, origins: list[Origin]) -> None:
    context = step.context
    step.operation.location = Location.unknown(context)
    for operation in step.entry_block.operations:
        mark = operation.location
        known = isinstance(mark, ir.FileLineColLoc) and mark.filename == MARK
        origin = origins[mark.start_line] if known else None
        operation.operation.location = _location(origin, context)


def _location(origin: Origin | None, context: Context) -> Location:
    if origin is None:
        return Location.unknown(context)
    place = Location.unknown(context)
    if origin.file:
        place = Location.file(origin.file, origin.line, 0, context)
    return Location.name(origin.module, place, context) if origin.module else place


def _bind(step: func.FuncOp, arguments: tuple[str, ...], checkpoint: Checkpoint) -> None:
    """Replace the arguments of the graph by the step's own and by weights."""
    block, context = step.entry_block, step.context
    unknown = Location.unknown(context)
    values = dict(zip(arguments, block.arguments, strict=True))
    tokens, positions, batch = (block.add_argument(kind, unknown) for kind in step_inputs(context))
    with InsertionPoint.at_block_begin(block), unknown:
        for name, value in ((TOKENS, tokens), (POSITIONS, positions)):
            values.pop(name).replace_all_uses_with(ToTorch(value).out)
        if TOKEN_TYPES in values:
            types = ToTorch(TokenTypes(batch).out).out
            values.pop(TOKEN_TYPES).replace_all_uses_with(types)
    _place_weights(step, values, checkpoint)
    for _ in arguments:
        block.erase_argument(0)
    _return_logits(step)


def _place_weights(step: func.FuncOp, values: dict[str, Value], checkpoint: Checkpoint) -> None:
    """Put each weight right before the first operation that uses it; unused ones vanish."""
    names = {value.arg_number: name for name, value in values.items()}
    placed: dict[str, Value] = {}
    for operation in list(step.entry_block.operations):
        for index, operand in enumerate(operation.operands):
            name = _argument_name(operand, names)
            if name is None:
                continue
            symbol = checkpoint.symbol(name)
            if symbol not in placed:
                with before(operation):
                    placed[symbol] = _weight(symbol, checkpoint.weights.info(symbol), step.context)
            operation.operands[index] = placed[symbol]


def _argument_name(operand: Value, names: dict[int, str]) -> str | None:
    if not isinstance(operand, BlockArgument):
        return None
    return names.get(operand.arg_number)


def _weight(symbol: str, info: WeightInfo, context: Context) -> Value:
    """Build the weight as stored, in float32 for the torch dialect."""
    weight = Weight(symbol, _stored_type(symbol, info, context)).out
    if weight.type != float_tensor(info.shape, context):
        weight = Convert(weight).out
    return ToTorch(weight).out


def _stored_type(symbol: str, info: WeightInfo, context: Context) -> Type:
    if isinstance(info.stored, Encoding):
        return Quant.of(float_tensor(info.shape, context), info.stored)
    element = ELEMENTS.get(info.stored)
    if element is None:
        raise UnsupportedError(
            f"weight {symbol!r} is stored as {info.stored}",
            hint="Save the model as float32, bfloat16 or float16.",
        )
    return tensor_type(info.shape, Type.parse(element, context))


def _return_logits(step: func.FuncOp) -> None:
    """Let the step return a builtin tensor, and give it its type."""
    terminator = list(step.entry_block.operations)[-1]
    with before(terminator):
        logits = FromTorch(terminator.operands[0]).out
        kind = TypeAttr.get(FunctionType.get(step_inputs(step.context), [logits.type]))
    terminator.operands[0] = logits
    step.attributes["function_type"] = kind
