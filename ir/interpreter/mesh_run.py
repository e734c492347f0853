"""Running the program of a mesh: all its devices in lockstep, operation by operation."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from ingot.ir.collectives import axis_of
from ingot.ir.mesh import DATA_AXES
from ingot.ir.mlir import OpView, Value, func
from ingot.ir.module import Module, stages_of
from ingot.ir.operation import Op
from ingot.ir.ops.send_recv import SendRecv
from ingot.ir.ops.weight import Weight
from ingot.ir.placement import (
    is_weight_expression,
    is_weight_op,
    part_coordinates,
    varying_axes,
)
from ingot.ir.quant_tensor import QuantTensor
from ingot.ir.types import is_per_token

from .agreement import check_agreement
from .groups import OTHER, Group, assemble, divide, keep_state, row_kinds
from .run import Interpreter, Watch, results_of
from .values import Batch
from .weights import Weights, evaluate_weight

Values = dict[Value, list[Any]]
"""The value on each device by number, None where a device is of another stage."""


class MeshInterpreter:
    """Runs a module whose step is the program of each device of its mesh, step after step.

    As `Interpreter`, with the same arguments and results: the sequences of the batch are divided
    among the data groups, and rows come back in the batch's order.  Part of a weight is evaluated
    once for all devices that hold it.  Values that devices should have in common are compared: an
    AssertionError names the operation from which they differ.  `watch` sees whole values, in the
    order of the batch, and None for those of which each device has a part.
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
        mesh = module.mesh
        assert mesh is not None, "the step names no mesh"
        self._module, self._mesh = module, mesh
        self._weights, self._dtype, self._keep, self._watch = weights, dtype, keep, watch
        self._unencoded = frozenset(unencoded)
        self._single = Interpreter(module, weights, dtype, keep=keep)
        self._stages = stages_of(module)
        self._axes = varying_axes(module.step, mesh)
        self._kinds = row_kinds(module.step)
        self._coordinates = [mesh.coordinates(device) for device in range(mesh.devices)]
        self._evaluated: dict[tuple[Any, ...], Tensor | QuantTensor] = {}

    def step(self, tokens: Tensor, positions: Tensor, batch: Batch) -> Tensor:
        """Run the step on tokens and positions `[T]` (integers); returns logits `[rows, V]`.

        The sequences of `batch` grow by their tokens, on the devices that run them.
        """
        assert batch.starts[-1] == len(tokens) == len(positions), "starts and tokens disagree"
        groups = divide(batch, self._mesh.data_groups)
        of_device = [groups[self._mesh.data_group(device)] for device in self._devices()]
        batches = [group.batch(batch, device) for device, group in enumerate(of_device)]
        inputs = [
            [group.own(one.to(torch.int32)) for group in of_device] for one in (tokens, positions)
        ]
        with torch.inference_mode():
            logits = self._run([*inputs, list(batches)], groups)
        for group in groups:
            own = {d: batches[d] for d in self._devices() if of_device[d] is group}
            keep_state(group, batch, own)
        return logits

    def _run(self, inputs: Sequence[list[Any]], groups: Sequence[Group]) -> Tensor:
        """Run every operation on all devices of its stage; values are freed when last read."""
        block = self._module.step.entry_block
        values: Values = dict(zip(block.arguments, inputs, strict=True))
        batches = inputs[2]
        operations = list(block.operations)
        last_reader = {v: index for index, op in enumerate(operations) for v in op.operands}
        for index, op in enumerate(operations):
            if isinstance(op, func.ReturnOp):
                return self._returned(op, values, groups)
            if is_weight_op(op):
                continue
            results = self._evaluate(op, values, batches)
            for number, result in enumerate(op.results):
                values[result] = [None if one is None else one[number] for one in results]
                self._check(op, values[result], self._axes[result])
            if self._watch is not None:
                self._watch(op, [self._whole(v, values[v], groups) for v in op.results])
            for operand in op.operands:
                if last_reader[operand] == index:
                    values.pop(operand, None)
        raise AssertionError("the step does not return")

    def _evaluate(
        self, op: OpView, values: Values, batches: Sequence[Batch]
    ) -> list[Sequence[Any] | None]:
        """Return the results of one operation on each device of its stage, None on others."""
        found: list[Sequence[Any] | None] = [None] * self._mesh.devices
        if isinstance(op, SendRecv):
            for group in self._mesh.groups(op.axis):
                sender, receiver = group[op.stage - 1], group[op.stage]
                found[receiver] = self._across(op, [sender], values)[0]
        elif isinstance(op, Op) and op.collective:
            for group in self._mesh.groups(axis_of(op)):
                if self._stage(group[0]) == self._stages[op]:
                    for device, results in zip(group, self._across(op, group, values), strict=True):
                        found[device] = results
        else:
            for device in self._devices():
                if self._stage(device) == self._stages[op]:
                    operands = [self._read(v, values, device) for v in op.operands]
                    found[device] = self._single.evaluate(op, operands, batches[device])
        return found

    def _across(self, op: Op, group: Sequence[int], values: Values) -> list[list[Any]]:
        inputs = [[self._read(v, values, device) for v in op.operands] for device in group]
        found = op.across(inputs, [self._coordinates[device] for device in group])
        assert len(found) == len(group), f"{op.OPERATION_NAME} gave {len(found)} results"
        return [results_of(one, self._dtype) for one in found]

    def _read(self, value: Value, values: Values, device: int) -> Any:
        if value in values or not is_weight_expression(value):
            return values[value][device]
        places = part_coordinates(value, self._coordinates[device])
        key = (value, *places.items())
        if key in self._evaluated:
            return self._evaluated[key]
        encoded = value not in self._unencoded
        found = evaluate_weight(value, self._weights, self._dtype, places, encoded=encoded)
        if not isinstance(value.owner, Weight) and self._keep:
            self._evaluated[key] = found
        return found

    def _returned(self, op: func.ReturnOp, values: Values, groups: Sequence[Group]) -> Tensor:
        (value,) = op.operands
        self._check(value.owner, values[value], self._axes[value] & set(DATA_AXES))
        whole = assemble(groups, self._of_groups(values[value]), self._kinds[value])
        assert isinstance(whole, Tensor)
        return whole

    def _whole(self, value: Value, found: list[Any], groups: Sequence[Group]) -> Any:
        """Return a value of the whole step; None where every device has a part of its own."""
        kind = self._kinds[value]
        parted = self._axes[value] - set(DATA_AXES)
        if kind == OTHER or parted or not is_per_token(value):
            return None
        return assemble(groups, self._of_groups(found), kind)

    def _of_groups(self, found: list[Any]) -> list[Any]:
        """Return the value of the first device of each data group that has one."""
        first: dict[int, Any] = {}
        for device in self._devices():
            if found[device] is not None:
                first.setdefault(self._mesh.data_group(device), found[device])
        return [first[group] for group in range(self._mesh.data_groups)]

    def _check(self, op: OpView, found: list[Any], axes: Collection[str]) -> None:
        check_agreement(op, found, self._coordinates, axes)

    def _stage(self, device: int) -> int:
        return self._coordinates[device].get("pp", 0)

    def _devices(self) -> range:
        return range(self._mesh.devices)
