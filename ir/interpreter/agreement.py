"""Whether the devices of a mesh agree on what they should have in common."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ingot.ir.mlir import OpView
from ingot.ir.module import place_of
from ingot.ir.quant_tensor import QuantTensor

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4}
"""How much values may differ, relative and absolute, by the type they are computed in."""


def check_agreement(
    op: OpView,
    values: Sequence[Any],
    coordinates: Sequence[Mapping[str, int]],
    axes: Collection[str],
) -> None:
    """Require the values of devices to be equal that differ in place along other axes alone.

    `values` and `coordinates` are by device, None where a device has no value.  Raises
    AssertionError that names the operation, whose result they are, and the first two that differ.
    """
    first: dict[tuple[int, ...], int] = {}
    for device, value in enumerate(values):
        if value is None:
            continue
        place = tuple(coordinates[device].get(axis, 0) for axis in sorted(axes))
        other = first.setdefault(place, device)
        if other != device and not _agree(values[other], value):
            where = place_of(op.location) or str(op.location)
            raise AssertionError(
                f"the devices {other} and {device} should agree on {op.operation.name} at {where}"
            )


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, QuantTensor):
        return _agree(one.dequantize(), other.dequantize())
    if not isinstance(one, Tensor):
        return True
    if one.shape != other.shape:
        return False
    if torch.equal(one, other):
        return True
    if not one.is_floating_point():
        return False
    tolerance = TOLERANCES.get(one.dtype, 1e-2)
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)
