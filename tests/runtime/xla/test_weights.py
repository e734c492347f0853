"""Weights from a mapped file to the devices: which part goes where, and how its bytes are read."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from ingot.errors import ArtifactError
from ingot.runtime.xla import pjrt
from ingot.runtime.xla.memory import device_bytes, host_bytes
from ingot.runtime.xla.plan import Parameter, Pool, XlaPlan
from ingot.runtime.xla.weights import place_parameters

from .test_batches import make_plan

COPY = b"""module attributes {mhlo.num_replicas = %d : i32} {
 func.func public @main(%%x: tensor<%s>) -> tensor<%s> { return %%x : tensor<%s> } }"""


def bytes_of(array: NDArray[np.generic], offset: int = 0) -> NDArray[np.uint8]:
    """As packed: from an offset on, at an address that is a multiple of 64."""
    data = array.tobytes()
    space = np.zeros(offset + len(data) + 64, np.uint8)
    start = -space.ctypes.data % 64
    space[start + offset : start + offset + len(data)] = np.frombuffer(data, np.uint8)
    return space[start : start + offset + len(data)]


def placed(
    plan: XlaPlan, weights: dict[str, NDArray[np.uint8]], kind: str
) -> list[list[NDArray[np.generic]]]:
    """What every device of every stage has of the plan's one parameter."""
    client = pjrt.open_client("cpu", plan.mesh.devices)
    mesh = plan.mesh
    stages = [client.group(mesh.stage_devices(stage)) for stage in range(mesh.stages)]
    found = []
    for group, arrays in zip(stages, place_parameters(plan, weights, stages, "x"), strict=True):
        for array in arrays:
            text = COPY % (len(group.devices), *[kind.encode()] * 3)
            [parts], _ = group.compile(text).run([array], [])
            found.append([parts.read(index) for index in range(len(group.devices))])
    return found


def with_parameter(mesh: str, **fields: object) -> XlaPlan:
    values: dict[str, object] = {
        "name": "w",
        "dtype": "float32",
        "shape": (2, 3),
        "stage": 0,
        "axes": (),
        "weights": (("w",),),
        "stacked": False,
        "offset": 0,
    }
    parameter = Parameter(**(values | fields))  # type: ignore[arg-type]
    return replace(make_plan(mesh, (1, 1, 1, 1, True)), parameters=(parameter,))


def test_a_part_goes_to_the_devices_of_its_coordinates() -> None:
    parts = [np.full((2, 3), number, np.float32) for number in range(4)]
    weights = {f"w@{i}": bytes_of(part, 64) for i, part in enumerate(parts)}
    names = (("w@0", "w@1", "w@2", "w@3"),)
    plan = with_parameter("ep2xdp2xtp2", axes=("ep", "tp"), weights=names, offset=64)
    [found] = placed(plan, weights, "2x3xf32")
    assert [int(array[0, 0]) for array in found] == [0, 1, 0, 1, 2, 3, 2, 3]


def test_a_stage_has_its_own_weights() -> None:
    plan = with_parameter("pp2xtp2", stage=1, axes=("tp",), weights=(("w@0", "w@1"),))
    weights = {f"w@{i}": bytes_of(np.full((2, 3), i, np.float32)) for i in range(2)}
    [found] = placed(plan, weights, "2x3xf32")
    assert [int(array[0, 0]) for array in found] == [0, 1]


def test_equal_layers_are_stacked() -> None:
    rows = [np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3) + i for i in range(3)]
    weights = {f"layer{i}": bytes_of(row) for i, row in enumerate(rows)}
    names = tuple((f"layer{i}",) for i in range(3))
    plan = with_parameter("", dtype="bfloat16", shape=(3, 2, 3), weights=names, stacked=True)
    [[found]] = placed(plan, weights, "3x2x3xbf16")
    np.testing.assert_array_equal(found, np.stack(rows))


def test_codes_of_4_bits_are_two_a_byte() -> None:
    codes = np.array([[-8, -1, 0], [7, 1, 3]], np.int8)
    low, high = codes.reshape(-1)[::2] & 15, codes.reshape(-1)[1::2] & 15
    plan = with_parameter("tp2", dtype="int4")
    [found] = placed(plan, {"w": bytes_of((low | high << 4).astype(np.uint8))}, "2x3xi4")
    for array in found:
        np.testing.assert_array_equal(array.astype(np.int8), codes)


def test_floats_are_read_where_they_are_mapped() -> None:
    weight = bytes_of(np.zeros((2, 3), np.float32))
    plan = with_parameter("tp2")
    client = pjrt.open_client("cpu", 2)
    [[array]] = place_parameters(plan, {"w": weight}, [client.group([0, 1])], "x")
    weight.view(np.float32)[:] = 5  # seen by the devices: they have no copy
    text = COPY % (2, b"2x3xf32", b"2x3xf32", b"2x3xf32")
    [parts], _ = client.group([0, 1]).compile(text).run([array], [])
    assert (parts.read(0) == 5).all() and (parts.read(1) == 5).all()


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": (("other",),)},
        {"weights": (("w", "w"), ("w",)), "axes": ("tp",), "stacked": True, "shape": (2, 2, 3)},
        {"weights": (("w",), ("w",)), "stacked": True, "shape": (3, 2, 3)},
        {"shape": (20, 3)},
        {"offset": 64},
    ],
)
def test_what_is_missing_is_named(fields: dict[str, object]) -> None:
    group = pjrt.open_client("cpu", 2).group([0, 1])
    plan = with_parameter("tp2", **fields)
    weights = {"w": bytes_of(np.zeros((2, 3), np.float32))}
    with pytest.raises(ArtifactError, match="x: parameter w: no such packed weight"):
        place_parameters(plan, weights, [group], "x")


def test_the_bytes_of_devices_are_those_of_what_they_hold() -> None:
    plan = with_parameter("pp2xtp2", dtype="int4", axes=("tp",), weights=(("a", "b"),), stage=1)
    plan = replace(plan, pools=(Pool(0, (4, 2, 2, 8)), Pool(1, (4, 2, 2, 4))))
    assert device_bytes(plan) == 4 * 128
    assert host_bytes(plan) == 2 * 4 * 128 + 2 * 4 * 64 + 2 * 6
