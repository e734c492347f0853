"""Exports an architecture as one graph, on the meta device: no weight is read, none is needed."""

import copy
import inspect
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import ExportGraphSignature, InputKind, InputSpec, OutputKind
from transformers import PretrainedConfig, PreTrainedModel, __version__

from ingot.errors import IngotError, UnsupportedError
from ingot.models.architecture import build_architecture
from ingot.models.head import GENERATE, Head

from .encoder import Pooled, allow_any_layer, number_layers, position_offset
from .lookups import look_up_by_embedding
from .numbering import number_by_positions
from .origin import Origin, origin_of
from .seams import looking_through, opaque_states, use_seams
from .simplify import simplify

TOKENS, POSITIONS, TOKEN_TYPES = "tokens", "positions", "token_types"
EXAMPLE_TOKENS = 130
"""An example length above every chunk or window that a model may treat apart."""
MOST_TOKENS = 1 << 20
NOT_MIXING = {torch.ops.ingot.experts.default, torch.ops.ingot.pool.default}
"""Opaque operators that treat every token alone, or give rows of their own."""
NOISE = (
    torch.ops.aten._assert_tensor_metadata.default,
    torch.ops.aten.alias.default,
    torch.ops.aten.clone.default,
    torch.ops.aten.detach.default,
)
"""What the exporter leaves behind that computes nothing in a graph without mutation."""


@dataclass(frozen=True)
class Trace:
    """An exported architecture.

    `graph` takes `arguments` in that order: TOKENS, POSITIONS and, with a head that pools,
    TOKEN_TYPES are `[1, T]` int64, every other is the name of a parameter or buffer; it gives
    logits `[1, T, vocabulary]` float32, or the head's rows.  `origins` says where each node that
    calls a function comes from.
    """

    graph: fx.Graph
    arguments: tuple[str, ...]
    origins: dict[str, Origin]


class _Logits(nn.Module):
    """The model as a function from tokens and positions to logits alone."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self._options = inspect.signature(model.forward).parameters
        self._offset = position_offset(model)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Return the logits."""
        options: dict[str, object] = {
            "use_cache": False,
            "position_ids": positions + self._offset if self._offset else positions,
        }
        if getattr(self.model.config, "type_vocab_size", 0):
            options["token_type_ids"] = torch.zeros_like(tokens)
        given = {name: value for name, value in options.items() if name in self._options}
        logits = self.model(input_ids=tokens, **given).logits
        assert isinstance(logits, Tensor)
        return logits


PREFIX = "model"


def trace(config: PretrainedConfig, head: Head = GENERATE) -> Trace:
    """Export the architecture of `config` for any number of tokens.

    Attention stays one node, `ingot::attention`, a layer of experts one, `ingot::experts`, and so
    do convolutions and scans (`ingot::causal_conv` and others of `seams/state.py`).  Raises
    UnsupportedError, naming the model type, where the architecture cannot be exported so.
    """
    config = copy.deepcopy(config)
    for one in (config, config.get_text_config()):
        # Not every model takes this as an argument.
        one.use_cache = False
    use_seams(config)
    model, inputs = _function(build_architecture(config, head), head)
    try:
        with opaque_states(model), looking_through(), warnings.catch_warnings():
            # torch.export copies its own tree specifications, which warn of themselves.
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            graph, signature = simplify(_export(model, inputs, config))
    except IngotError:
        raise
    except Exception as error:  # whatever the exporter raises is said of the architecture
        raise UnsupportedError(
            f"the architecture {config.model_type!r} of transformers {__version__} cannot be "
            f"traced: {error}",
            hint="Give a model that treats every number of tokens alike.",
        ) from error
    _check_outputs(signature, config)
    arguments = tuple(_argument(spec, config) for spec in signature.input_specs)
    _drop_noise(graph)
    inputs_of_graph = dict(zip(arguments, graph.find_nodes(op="placeholder"), strict=True))
    number_by_positions(graph, inputs_of_graph[POSITIONS])
    look_up_by_embedding(graph, (inputs_of_graph[TOKENS], inputs_of_graph[POSITIONS]))
    _check_mixing(graph, config)
    number_layers(graph)
    origins = {
        node.name: origin_of(node, PREFIX) for node in graph.nodes if node.op == "call_function"
    }
    return Trace(graph, arguments, origins)


def _function(model: PreTrainedModel, head: Head) -> tuple[nn.Module, int]:
    """Return what is to be exported of a model, and how many inputs that takes."""
    if head.task == "generate":
        return _Logits(model), 2
    allow_any_layer(model)
    return Pooled(model, head), 3


def _export(
    model: nn.Module, inputs: int, config: PretrainedConfig
) -> torch.export.ExportedProgram:
    """Export for any number of tokens, or for those that the model asks for by a guard.

    A model that guards against longer texts than its table of positions treats all others alike.
    """
    try:
        return _export_for(model, inputs, MOST_TOKENS)
    except torch._dynamo.exc.UserError as error:
        most = getattr(config.get_text_config(), "max_position_embeddings", None)
        if not isinstance(most, int) or f"<= {most}" not in str(error) or most < EXAMPLE_TOKENS:
            raise
        return _export_for(model, inputs, most)


def _export_for(model: nn.Module, inputs: int, most: int) -> torch.export.ExportedProgram:
    tokens = torch.zeros(1, EXAMPLE_TOKENS, dtype=torch.long, device="meta")
    count = torch.export.Dim("T", min=2, max=most)
    return torch.export.export(
        model,
        tuple(torch.zeros_like(tokens) for _ in range(inputs)),
        dynamic_shapes=({1: count},) * inputs,
        strict=False,
    )


def _argument(spec: InputSpec, config: PretrainedConfig) -> str:
    if spec.kind is InputKind.USER_INPUT:
        return spec.arg.name
    if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
        assert spec.target is not None
        return spec.target.removeprefix(f"{PREFIX}.")
    raise UnsupportedError(
        f"the architecture {config.model_type!r} makes the constant {spec.target!r} while it runs",
        hint="Give a model whose constants are parameters or buffers.",
    )


def _check_outputs(signature: ExportGraphSignature, config: PretrainedConfig) -> None:
    changed = [s.target for s in signature.output_specs if s.kind is not OutputKind.USER_OUTPUT]
    if changed:
        raise UnsupportedError(
            f"the architecture {config.model_type!r} changes {changed[0]!r} while it runs",
            hint="Give a model without state other than attention's cache.",
        )
    assert len(signature.output_specs) == 1


def _check_mixing(graph: fx.Graph, config: PretrainedConfig) -> None:
    """Require that tokens meet in opaque operators, of attention or of a state."""
    opaque = {n.target for n in graph.nodes if getattr(n.target, "namespace", "") == "ingot"}
    if torch.ops.ingot.mask.default in opaque or not opaque - NOT_MIXING:
        raise UnsupportedError(
            f"the architecture {config.model_type!r} mixes tokens by code of its own, not through "
            "transformers' attention interface",
            hint="Give a model that uses the interface, as most do.",
        )


def _is_whole(node: fx.Node) -> bool:
    """Return whether a node is a slice of all there is, as of the last T of T tokens."""
    if node.target is not torch.ops.aten.slice.Tensor or node.args[4:] not in ((), (1,)):
        return False
    (x, *_) = node.all_input_nodes
    return str(node.meta["val"].shape) == str(x.meta["val"].shape)


def _drop_noise(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        if node.target in NOISE or _is_whole(node):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    graph.eliminate_dead_code()
