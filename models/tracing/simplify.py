"""Brings an exported program to functional ATen ops, in one pass over its graph where it can.

`ExportedProgram.run_decompositions({})` does so for any program, in several passes under a tensor
subclass that tracks mutation.  A program without mutation, as nearly all are, needs only one: the
ops are dispatched again, below autograd, and what is composed of views comes apart.  On 32 layers
that takes a third of the time.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx
from torch._dispatch.python import enable_python_dispatcher
from torch.export import ExportedProgram
from torch.export.exported_program import (
    _override_composite_implicit_decomp,
    _split_decomp_table_to_cia_and_python_decomp,
)
from torch.export.graph_signature import ExportGraphSignature
from torch.fx import traceback
from torch.fx.experimental.proxy_tensor import make_fx

_OTHER_NAMES: Mapping[Any, Any] = {
    torch.ops.aten.concat.default: torch.ops.aten.cat.default,
    torch.ops.aten.concatenate.default: torch.ops.aten.cat.default,
}


def simplify(program: ExportedProgram) -> tuple[fx.Graph, ExportGraphSignature]:
    """Return the graph of `program` in functional ATen ops, and its signature.

    The inputs stay in order; nodes keep the module and the line that they come from.
    """
    if any(map(_mutates, _nodes(program.graph_module))):
        with warnings.catch_warnings():
            # torch.export copies its own tree specifications, which warn of themselves.
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            general = program.run_decompositions({})
        return _renamed(general.graph), general.graph_signature
    return _renamed(_dispatched_again(program.graph_module).graph), program.graph_signature


def _renamed(graph: fx.Graph) -> fx.Graph:
    """Give ops that have two names the one that the torch dialect knows."""
    for node in graph.nodes:
        node.target = _OTHER_NAMES.get(node.target, node.target)
    return graph


def _nodes(module: fx.GraphModule) -> list[fx.Node]:
    """Return the nodes of a module and of the graphs that it holds."""
    inner = (m for m in module.modules() if isinstance(m, fx.GraphModule))
    return [node for one in inner for node in one.graph.nodes]


def _mutates(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _dispatched_again(module: fx.GraphModule) -> fx.GraphModule:
    inputs = [node.meta["val"] for node in module.graph.nodes if node.op == "placeholder"]
    mode = torch._guards.detect_fake_mode(inputs)
    assert mode is not None, "an exported graph holds fake tensors"
    # Composite ops that are not views stay whole: `linear`, `scaled_dot_product_attention`, …
    whole: Mapping[Any, Any] = _split_decomp_table_to_cia_and_python_decomp({})[0]
    with (
        torch.no_grad(),
        mode,
        _override_composite_implicit_decomp(whole),
        traceback.preserve_node_meta(),
        enable_python_dispatcher(),
    ):
        return make_fx(lambda *values: fx.Interpreter(module).run(*values))(*inputs)
