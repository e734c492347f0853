"""The operations of one layer as a graph, with the texts that a drawing needs."""

from dataclasses import dataclass

from ingot.ir.locations import source_of
from ingot.ir.mlir import OpView, Value, func
from ingot.ir.module import Module
from ingot.ir.operation import Op
from ingot.ir.placement import is_weight_expression
from ingot.ir.types import encoding_of, logical_type

from .names import layer_of, name_values
from .readable import is_inline
from .types import format_type


@dataclass(frozen=True)
class Node:
    """One operation, or a value that comes from outside (`operation` is empty then).

    `weights` says how the weights that it reads are stored, `result` the type of what it makes.
    """

    name: str
    operation: str
    weights: tuple[str, ...]
    result: str


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of the module, and edges as pairs of their numbers."""

    layer: str
    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]


def layers_of(module: Module) -> list[str]:
    """Return the layers that the step has operations of, in order."""
    places = (source_of(op.location).module for op in module.step.entry_block.operations)
    return [layer for layer in dict.fromkeys(map(layer_of, places)) if layer]


def layer_graph(module: Module, layer: str) -> Graph:
    """Return the operations of the step that are located in `layer`, and what they read."""
    function = module.step
    names = name_values(function, is_inline)
    nodes: list[Node] = []
    edges: dict[tuple[int, int], None] = {}
    numbers: dict[Value, int] = {}
    for op in function.entry_block.operations:
        if is_inline(op) or isinstance(op, func.ReturnOp):
            continue
        if layer_of(source_of(op.location).module) != layer:
            continue
        inner = [value for value in op.operands if not _is_constant(value)]
        for value in inner:
            if value not in numbers:
                numbers[value] = len(nodes)
                nodes.append(Node(names[value], "", (), format_type(value.type)))
        number = len(nodes)
        nodes.append(_node(op, names))
        edges.update({(numbers[value], number): None for value in inner})
        numbers.update({value: number for value in op.results})
    return Graph(layer, tuple(nodes), tuple(edges))


def _is_constant(value: Value) -> bool:
    owner = value.owner
    return isinstance(owner, OpView) and is_inline(owner)


def _node(op: OpView, names: dict[Value, str]) -> Node:
    results = list(op.results)
    name = names[results[-1]] if results else ""
    types = ", ".join(format_type(value.type) for value in results)
    weights = tuple(
        str(encoding_of(value) or logical_type(value).element_type)
        for value in op.operands
        if isinstance(op, Op) and is_weight_expression(value)
    )
    operation = str(op.operation.name).removeprefix("lm.")
    return Node(name, operation, weights, types)
