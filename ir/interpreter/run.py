"""Running a module, at any stage, on torch tensors."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from ingot.errors import UnsupportedError
from ingot.ir.mlir import OpView, Value, func
from ingot.ir.module import Module, place_of
from ingot.ir.operation import Op
from ingot.ir.ops.weight import Weight
from ingot.ir.placement import axes_of, is_weight_expression, is_weight_op
from ingot.ir.quant_tensor import QuantTensor

from .torch_ops import TorchState, run_torch_op
from .values import Batch, Datum
from .weights import Weights, evaluate_weight

Watch = Callable[[OpView, Sequence[Any]], None]
"""Called with each operation that has run, in order, and the values of its results."""


class Interpreter:
    """Runs one module on one set of weights, step after step.

    Weight expressions are evaluated once and kept, so that a second step does not quantise again,
    unless `keep` is false: then a model of any size runs in the memory of its largest weight.
    `dtype` is the type of all activations: float32, or float64 for an oracle.  `watch` sees all
    intermediate values, those of called functions too.  `unencoded` are weight expressions in
    which nothing is to be encoded.
    """

    def __init__(
        self,
        module: Module,
        weights: Weights,
        dtype: torch.dtype = torch.float32,
        *,
        watch: Watch | None = None,
        keep: bool = True,
        unencoded: Collection[Value] = (),
    ) -> None:
        self._module, self._weights, self._dtype = module, weights, dtype
        self._watch, self._keep = watch, keep
        self._functions = {function.name.value: function for function in module.functions}
        self._unencoded = frozenset(unencoded)
        self._evaluated: dict[Value, Tensor | QuantTensor] = {}

    def step(self, tokens: Tensor, positions: Tensor, batch: Batch) -> Tensor:
        """Run the step on tokens and positions `[T]` (integers); returns logits `[rows, V]`.

        The sequences of `batch` grow by their tokens.
        """
        assert batch.starts[-1] == len(tokens) == len(positions), "starts and tokens disagree"
        inputs = [tokens.to(torch.int32), positions.to(torch.int32), batch]
        with torch.inference_mode():
            (logits,) = self._run(self._module.step, inputs, batch)
        assert isinstance(logits, Tensor)
        return logits

    def _run(self, function: func.FuncOp, inputs: Sequence[Any], batch: Batch) -> list[Any]:
        """Return what `function` returns; values are freed after their last reader."""
        block = function.entry_block
        values: dict[Value, Any] = dict(zip(block.arguments, inputs, strict=True))
        operations = list(block.operations)
        last_reader = {
            operand: index for index, op in enumerate(operations) for operand in op.operands
        }
        for index, op in enumerate(operations):
            if isinstance(op, func.ReturnOp):
                return [self._read(operand, values) for operand in op.operands]
            if is_weight_op(op):
                continue
            operands = [self._read(operand, values) for operand in op.operands]
            results = self.evaluate(op, operands, batch)
            if self._watch is not None:
                self._watch(op, results)
            for result, value in zip(op.results, results, strict=True):
                values[result] = value
            for operand in op.operands:
                if last_reader[operand] == index:
                    values.pop(operand, None)
        raise AssertionError(f"{function.name} does not return")

    def _read(self, value: Value, values: dict[Value, Any]) -> Any:
        if value in values or not is_weight_expression(value):
            return values[value]
        if value in self._evaluated:
            return self._evaluated[value]
        if axes_of(value):
            raise _needs_mesh("a part of a weight", value.owner)
        encoded = value not in self._unencoded
        found = evaluate_weight(value, self._weights, self._dtype, encoded=encoded)
        if not isinstance(value.owner, Weight) and self._keep:
            self._evaluated[value] = found
        return found

    def evaluate(self, op: OpView, operands: Sequence[Any], batch: Batch) -> Sequence[Any]:
        """Return the results of one operation from its operands' values."""
        if isinstance(op, Op):
            if op.collective:
                raise _needs_mesh(op.OPERATION_NAME, op)
            return results_of(op.reference(*operands), self._dtype)
        if isinstance(op, func.CallOp):
            return self._run(self._functions[op.callee.value], operands, batch)
        if op.operation.name.startswith("torch."):
            return run_torch_op(op, operands, TorchState(batch, self._dtype))
        raise UnsupportedError(
            f"the interpreter does not know {op.operation.name}",
            where=place_of(op.location),
            hint="It runs the lm and torch dialects, and func.call.",
        )


def results_of(found: Datum | tuple[Datum, ...], dtype: torch.dtype) -> list[Datum]:
    """Return what an operation computed as a list, float32 in `dtype`."""
    results = found if isinstance(found, tuple) else (found,)
    return [_in_dtype(value, dtype) for value in results]


def _needs_mesh(what: str, op: Op) -> UnsupportedError:
    return UnsupportedError(
        f"{what} depends on a device's place in a mesh, and the step names none",
        where=place_of(op.location),
        hint="Say which by Module.set_mesh, and take the interpreter from interpreter_of.",
    )


def _in_dtype(value: Datum, dtype: torch.dtype) -> Datum:
    if isinstance(value, Tensor) and value.dtype == torch.float32:
        return value.to(dtype)
    return value
