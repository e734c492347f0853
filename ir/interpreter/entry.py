"""The interpreter that a module needs: of one device, or of a mesh."""

from collections.abc import Collection

import torch
from torch import Tensor

from ingot.ir.mlir import Value
from ingot.ir.module import Module

from .mesh_run import MeshInterpreter
from .run import Interpreter, Watch
from .values import Batch
from .weights import Weights


def interpreter_of(
    module: Module,
    weights: Weights,
    dtype: torch.dtype = torch.float32,
    *,
    watch: Watch | None = None,
    keep: bool = True,
    unencoded: Collection[Value] = (),
) -> Interpreter | MeshInterpreter:
    """Return what runs the module: all devices of its mesh where it names one."""
    kind = Interpreter if module.mesh is None else MeshInterpreter
    return kind(module, weights, dtype, watch=watch, keep=keep, unencoded=unencoded)


def run_step(
    module: Module,
    weights: Weights,
    tokens: Tensor,
    positions: Tensor,
    batch: Batch,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Run one step of `module`; see `Interpreter.step`."""
    return interpreter_of(module, weights, dtype).step(tokens, positions, batch)
