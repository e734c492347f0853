"""Builds a module from nothing: its step is what a function of the step's inputs computes."""

from collections.abc import Callable

from .mesh import Mesh
from .mlir import FunctionType, InsertionPoint, Location, TypeAttr, Value, func
from .module import STEP, Module
from .types import step_inputs

Body = Callable[[Value, Value, Value], Value]


def build_module(body: Body, mesh: Mesh | None = None) -> Module:
    """Return the module whose step computes `body(tokens, positions, batch)`.

    `body` builds operations (`Embedding(tokens, table)`, `Linear(x, w)`, …) and returns the value
    that the step returns, logits `[rows, V]`.  With a `mesh` it is the program of each device.

        build_module(lambda tokens, positions, batch: Embedding(tokens, Weight(…).out).out)

    Raises InvalidModuleError where the operations do not fit together.
    """
    module = Module.create()
    context = module.context
    inputs = step_inputs(context)
    with Location.unknown(context), InsertionPoint(module.mlir.body):
        function = func.FuncOp(STEP, (inputs, []))
        block = function.add_entry_block()
        with InsertionPoint(block):
            result = body(*block.arguments)
            func.ReturnOp([result])
        function.attributes["function_type"] = TypeAttr.get(FunctionType.get(inputs, [result.type]))
    module.set_mesh(mesh)
    return module.verified()
