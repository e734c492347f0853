"""Small torch modules as modules of the IR: what a pattern meets in a traced architecture."""

import warnings

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind

from ingot.ir import (
    STEP,
    FromTorch,
    FunctionType,
    InsertionPoint,
    Location,
    Module,
    ToTorch,
    TypeAttr,
    Weight,
    before,
    float_tensor,
    mlir,
    new_context,
    step_inputs,
)

VOCABULARY = 11


def traced(layer: nn.Module, features: int) -> tuple[Module, dict[str, Tensor]]:
    """Return the step that embeds tokens and runs `layer(x, positions)`, and its weights.

    x is `[1, T, features]`, positions `[1, T]`; the layer's result is `[1, T, columns]`.
    """
    model = _Step(layer, features)
    tokens = torch.zeros(1, 7, dtype=torch.long)
    count = torch.export.Dim("T", min=2, max=1 << 16)
    shapes = ({1: count}, {1: count})
    with warnings.catch_warnings():
        # torch.export copies its own tree specifications, which warn of themselves.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        program = torch.export.export(
            model, (tokens, torch.zeros_like(tokens)), dynamic_shapes=shapes, strict=False
        ).run_decompositions({})
    importer = mlir.FxImporter(context=new_context())
    importer.import_stateless_graph(program.graph, func_name=STEP)
    module = Module(importer.module)
    weights = {
        spec.arg.name: dict(model.state_dict(keep_vars=True))[spec.target].detach()
        for spec in program.graph_signature.input_specs
        if spec.kind is not InputKind.USER_INPUT and spec.target is not None
    }
    _bind(module, list(weights), weights)
    return module.verified("traced"), weights


class _Step(nn.Module):
    def __init__(self, layer: nn.Module, features: int) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, features)
        self.layer = layer

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        result = self.layer(self.table(tokens), positions)
        assert isinstance(result, Tensor)
        return result


def _bind(module: Module, names: list[str], weights: dict[str, Tensor]) -> None:
    """Replace the parameters by weights, and torch's tensors at the border by the step's own."""
    block, context = module.step.entry_block, module.context
    values = list(block.arguments)
    unknown = Location.unknown(context)
    inputs = [block.add_argument(kind, unknown) for kind in step_inputs(context)]
    with InsertionPoint.at_block_begin(block), unknown:
        for name, value in zip(names, values, strict=False):
            kind = float_tensor(list(weights[name].shape), context)
            value.replace_all_uses_with(ToTorch(Weight(name, kind).out).out)
        for value, own in zip(values[len(names) :], inputs, strict=False):
            value.replace_all_uses_with(ToTorch(own).out)
    for _ in values:
        block.erase_argument(0)
    end = list(block.operations)[-1]
    with before(end):
        result = FromTorch(end.operands[0]).out
        kind = TypeAttr.get(FunctionType.get(step_inputs(context), [result.type]))
    end.operands[0] = result
    module.step.attributes["function_type"] = kind
