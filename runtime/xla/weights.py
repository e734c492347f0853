"""Weights from the mapped file to the devices, one parameter at a time.

On the CPU a part that needs no unpacking is not copied: the devices read the mapped file.
"""

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ArtifactError

from .mesh import row_major
from .pjrt import DeviceArray, Group, HostArray, dtype_of
from .plan import Parameter, XlaPlan

Weights = Mapping[str, NDArray[np.uint8]]


def place_parameters(
    plan: XlaPlan, weights: Weights, stages: list[Group], where: str
) -> list[list[DeviceArray]]:
    """Return the parameters of each stage, in the plan's order, on the devices of the stage.

    Raises ArtifactError where a packed weight is missing or too short.
    """
    placed: list[list[DeviceArray]] = [[] for _ in stages]
    for parameter in plan.parameters:
        array = stages[parameter.stage].put(_parts(plan, parameter, weights, where))
        array.wait()  # what was unpacked for it is freed before the next one
        placed[parameter.stage].append(array)
    return placed


def _parts(plan: XlaPlan, parameter: Parameter, weights: Weights, where: str) -> list[HostArray]:
    """Return the part of each device of the parameter's stage; equal ones are one array."""
    axes = [(axis, plan.mesh.size(axis)) for axis in parameter.axes]
    made: dict[tuple[str, ...], HostArray] = {}
    parts = []
    for device in plan.mesh.stage_devices(parameter.stage):
        index = row_major(axes, plan.mesh.coordinates(device))
        try:
            names = tuple(row[index] for row in parameter.weights)
            if names not in made:
                made[names] = _array(parameter, [weights[name] for name in names])
        except (KeyError, IndexError, ValueError) as error:
            raise ArtifactError(
                f"parameter {parameter.name}: no such packed weight ({error!r})",
                where=where,
                hint="Compile the model again.",
            ) from error
        parts.append(made[names])
    return parts


def _array(parameter: Parameter, rows: list[NDArray[np.uint8]]) -> HostArray:
    shape = parameter.shape[1:] if parameter.stacked else parameter.shape
    arrays = [_decode(row, parameter, shape) for row in rows]
    if not parameter.stacked:
        return arrays[0]
    stack: HostArray = np.stack(arrays)
    if stack.shape != parameter.shape:
        raise ValueError(f"{len(rows)} arrays for {parameter.shape[0]}")
    return stack


def _decode(data: NDArray[np.uint8], parameter: Parameter, shape: tuple[int, ...]) -> HostArray:
    """Return the array of `shape` that lies in a packed weight; int4 is two a byte, low first."""
    count = prod(shape)
    if parameter.dtype != "int4":
        return np.frombuffer(data, dtype_of(parameter.dtype), count, parameter.offset).reshape(
            shape
        )
    packed = np.frombuffer(data, np.int8, -(-count // 2), parameter.offset)
    values = np.empty((len(packed), 2), np.int8)
    np.right_shift(np.left_shift(packed, 4), 4, out=values[:, 0])
    np.right_shift(packed, 4, out=values[:, 1])
    signed: HostArray = values.reshape(-1)[:count].view(dtype_of("int4"))
    return signed.reshape(shape)
