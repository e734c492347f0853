"""Packed weights hold every code, scale and offset at the byte that the architecture names."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from ingot.errors import UnsupportedError
from ingot.ir import Encoding, QuantTensor
from ingot.targets.cpu.packing import PACKINGS, pack_vector, packing_for

N, K = 37, 200


def half_at(data: np.ndarray, offset: int) -> float:
    return float(data[offset : offset + 2].view(np.float16)[0])


def unpack_q4(data: np.ndarray, n: int, k: int, columns: int, *, group: int, zeros: bool) -> float:
    groups = 128 // group
    block_bytes = 1024 + groups * (48 if zeros else 32)
    block = (n // 16) * (-(-columns // 128) * block_bytes) + (k // 128) * block_bytes
    lane, quad = n % 16, k % 32 // 4
    byte = int(data[block + k % 128 // 32 * 256 + quad % 4 * 64 + lane * 4 + k % 4])
    code = byte >> 4 if quad >= 4 else byte & 15
    place = k % 128 // group
    scale = half_at(data, block + 1024 + place * 32 + lane * 2)
    zero = int(data[block + 1024 + groups * 32 + place * 16 + lane]) if zeros else 8
    return scale * (code - zero)


def unpack_q4m(data: np.ndarray, n: int, k: int, columns: int) -> float:
    block = (n // 16) * (-(-columns // 32) * 320) + (k // 32) * 320
    lane, quad = n % 16, k % 32 // 4
    byte = int(data[block + quad % 4 * 64 + lane * 4 + k % 4])
    code = byte >> 4 if quad >= 4 else byte & 15
    return half_at(data, block + 256 + lane * 2) * code + half_at(data, block + 288 + lane * 2)


def unpack_q8g(data: np.ndarray, n: int, k: int, columns: int) -> float:
    block = (n // 16) * (-(-columns // 64) * 1088) + (k // 64) * 1088
    lane, group, quad = n % 16, k % 64 // 32, k % 32 // 4
    code = int(data[block + group * 512 + quad * 64 + lane * 4 + k % 4]) - 128
    return half_at(data, block + 1024 + group * 32 + lane * 2) * code


def unpack_q8c(data: np.ndarray, n: int, k: int, columns: int) -> float:
    blocks = -(-columns // 32)
    panel = (n // 16) * (blocks * 512 + 64)
    lane, quad = n % 16, k % 32 // 4
    code = int(data[panel + k // 32 * 512 + quad * 64 + lane * 4 + k % 4]) - 128
    tail = panel + blocks * 512 + lane * 4
    return float(data[tail : tail + 4].view(np.float32)[0]) * code


def unpack_f32(data: np.ndarray, n: int, k: int, columns: int) -> float:
    return float(data.view(np.float32)[(n // 16 * columns + k) * 16 + n % 16])


def unpack_bf16(data: np.ndarray, n: int, k: int, columns: int) -> float:
    at = (n // 16 * -(-columns // 2) + k // 2) * 32 + n % 16 * 2 + k % 2
    bits = data.view(np.uint16)[at : at + 1].astype(np.uint32) << 16
    return float(bits.view(np.float32)[0])


UNPACK: dict[str, Callable[[np.ndarray, int, int, int], float]] = {
    "q4z": partial(unpack_q4, group=32, zeros=True),
    "q4z64": partial(unpack_q4, group=64, zeros=True),
    "q4z128": partial(unpack_q4, group=128, zeros=True),
    "q4s": partial(unpack_q4, group=32, zeros=False),
    "q4s64": partial(unpack_q4, group=64, zeros=False),
    "q4s128": partial(unpack_q4, group=128, zeros=False),
    "q4m": unpack_q4m,
    "q8g": unpack_q8g,
    "q8c": unpack_q8c,
    "f32": unpack_f32,
    "bf16": unpack_bf16,
}


@pytest.mark.parametrize("name", PACKINGS)
@pytest.mark.parametrize("columns", [K, 33])
def test_every_element_is_where_the_layout_says(
    name: str, columns: int, random_weight: Any, dense: Any
) -> None:
    weight = random_weight(name, N, columns)
    data = PACKINGS[name].pack(weight).numpy()
    assert data.size == PACKINGS[name].packed_bytes(N, columns)
    found = [[UNPACK[name](data, n, k, columns) for k in range(columns)] for n in range(N)]
    assert np.array_equal(np.array(found), dense(weight))


@pytest.mark.parametrize(
    ("name", "bits"),
    [("q4z", 4.75), ("q4z128", 4.1875), ("q4s", 4.5), ("q4s64", 4.25), ("q4s128", 4.125)],
)
def test_a_scale_takes_its_bytes_once(name: str, bits: float) -> None:
    assert PACKINGS[name].packed_bytes(160, 1024) * 8 == bits * 160 * 1024


@pytest.mark.parametrize("name", PACKINGS)
def test_padding_stands_for_zero(name: str, random_weight: Any) -> None:
    data = PACKINGS[name].pack(random_weight(name, N, K)).numpy()
    rows = [[UNPACK[name](data, n, k, K) for k in range(0, K, 7)] for n in range(N, 48)]
    assert not np.any(np.array(rows))


def test_a_table_of_many_chunks_is_the_same_as_its_parts() -> None:
    codes = torch.randint(-127, 128, (4096, 2048)).to(torch.int8)
    scales = torch.rand(4096, 1)
    encoding = Encoding.parse("int8")
    packing = PACKINGS["q8c"]
    whole = packing.pack(QuantTensor(encoding, codes, scales))
    last = packing.pack(QuantTensor(encoding, codes[-16:], scales[-16:]))
    assert torch.equal(whole[-last.numel() :], last)


def test_packings_of_stored_types() -> None:
    names = {"int4-g32": "q4z", "int4-g32-min": "q4m", "int8-g32": "q8g", "int8": "q8c"}
    names |= {"int4-g64": "q4z64", "int4-g128-sym": "q4s128", "int4-g32-sym": "q4s"}
    assert {e: packing_for(Encoding.parse(e)).name for e in names} == names
    floats = {torch.float32: "f32", torch.float16: "f32", torch.bfloat16: "bf16"}
    assert {dtype: packing_for(dtype).name for dtype in floats} == floats
    with pytest.raises(UnsupportedError, match="float64"):
        packing_for(torch.float64)
    with pytest.raises(UnsupportedError, match="activations"):
        packing_for(Encoding.parse("int8-act"))


def test_vectors_are_padded_to_whole_panels() -> None:
    packed = pack_vector(torch.arange(20, dtype=torch.bfloat16)).numpy().view(np.float32)
    assert np.array_equal(packed, np.pad(np.arange(20, dtype=np.float32), (0, 12)))
