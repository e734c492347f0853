"""Running a module, at any stage, on torch tensors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ingot.errors import UnsupportedError
from ingot.ir.mlir import OpView, Value, func
from ingot.ir.module import Module, place_of
from ingot.ir.operation import Op
from ingot.ir.ops.weight import Weight
from ingot.ir.quant_tensor import QuantTensor

from .torch_ops import TorchState, run_torch_op
from .values import Batch
from .weights import Weights, evaluate_weight, is_weight_expression

Watch = Callable[[OpView, Sequence[Any]], None]
"""Called with each operation that has run, in order, and the values of its results."""


class Interpreter:
    """Runs one module on one set of weights, step after step.

    Weight expressions are evaluated once and kept, so that a second step does not quantise again,
    unless `keep` is false: then a model of any size runs in the memory of its largest weight.
    `dtype` is the type of all activations: float32, or float64 for an oracle.  `watch` sees all
    intermediate values, those of called functions too.  `given` are weight expressions whose values
    are to be taken as given here.
    """

    def __init__(
        self,
        module: Module,
        weights: Weights,
        dtype: torch.dtype = torch.float32,
        *,
        watch: Watch | None = None,
        keep: bool = True,
        given: Mapping[Value, Tensor | QuantTensor] | None = None,
    ) -> None:
        self._module, self._weights, self._dtype = module, weights, dtype
        self._watch, self._keep = watch, keep
        self._functions = {function.name.value: function for function in module.functions}
        self._evaluated = dict(given or {})

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
        state = TorchState(batch, self._dtype)
        for index, op in enumerate(operations):
            if isinstance(op, func.ReturnOp):
                return [self._read(operand, values) for operand in op.operands]
            if _is_lazy(op):
                continue
            operands = [self._read(operand, values) for operand in op.operands]
            results = self._evaluate(op, operands, state)
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
        if isinstance(value.owner, Weight) or not self._keep:
            return evaluate_weight(value, self._weights, self._dtype)
        self._evaluated[value] = evaluate_weight(value, self._weights, self._dtype)
        return self._evaluated[value]

    def _evaluate(self, op: OpView, operands: Sequence[Any], state: TorchState) -> Sequence[Any]:
        if isinstance(op, Op):
            result = op.reference(*operands)
            results = result if isinstance(result, tuple) else (result,)
            return [_in_dtype(value, self._dtype) for value in results]
        if isinstance(op, func.CallOp):
            callee = self._functions[op.callee.value]
            return self._run(callee, operands, state.batch)
        if op.operation.name.startswith("torch."):
            return run_torch_op(op, operands, state)
        raise UnsupportedError(
            f"the interpreter does not know {op.operation.name}",
            where=place_of(op.location),
            hint="It runs the lm and torch dialects, and func.call.",
        )


def run_step(
    module: Module,
    weights: Weights,
    tokens: Tensor,
    positions: Tensor,
    batch: Batch,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Run one step of `module`; see `Interpreter.step`."""
    return Interpreter(module, weights, dtype).step(tokens, positions, batch)


def _is_lazy(op: OpView) -> bool:
    """Return whether the results are weights, which are evaluated where they are read."""
    return isinstance(op, Op) and all(map(is_weight_expression, op.results))


def _in_dtype(value: Any, dtype: torch.dtype) -> Any:
    is_float32 = isinstance(value, Tensor) and value.dtype == torch.float32
    return value.to(dtype) if is_float32 else value
