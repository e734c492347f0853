"""Load compiled kernels into this process and call them on numpy arrays."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch

from ingot.ir import Encoding, Offset, QuantTensor
from ingot.runtime._native import CodeObject
from ingot.targets.cpu.codegen import compile_kernels
from ingot.targets.cpu.kernel import SCRATCH_BYTES, Kernel
from ingot.targets.cpu.levels import LEVELS, Level
from ingot.targets.cpu.packing import PACKINGS, Weight

_PROTOTYPE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
)
_features = llvm.get_host_cpu_features()
HOST_LEVELS = [lv for lv in LEVELS if all(_features.get(name, False) for name in lv.features)]


def aligned(shape: Sequence[int] | int, dtype: Any) -> np.ndarray:
    """Return a zeroed array whose address is a multiple of 64."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    view: np.ndarray = raw[start : start + size].view(dtype).reshape(shape)
    return view


@dataclass(frozen=True)
class Loaded:
    """Kernels in memory; `keep` owns the code."""

    addresses: dict[str, int]
    keep: Any

    def __call__(
        self, name: str, slots: Sequence[np.ndarray | int], begin: int = 0, end: int = 1
    ) -> None:
        """Run a kernel over `begin..end`; an array in `slots` stands for its address."""
        values = [s if isinstance(s, int) else s.ctypes.data for s in slots]
        array = np.array(values, np.int64)
        scratch = aligned(SCRATCH_BYTES, np.uint8)
        _PROTOTYPE(self.addresses[name])(array.ctypes.data, begin, end, scratch.ctypes.data)


def load_object(code: bytes, names: Sequence[str]) -> Loaded:
    """Link an object into this process."""
    linked = CodeObject(code)
    return Loaded({name: linked.functions[name] for name in names}, linked)


Jit = Callable[[Sequence[Kernel], Level], Loaded]


@pytest.fixture(scope="session")
def jit() -> Jit:
    """Return a function that compiles kernels for a level and loads them."""

    def compile_and_load(kernels: Sequence[Kernel], level: Level) -> Loaded:
        code = compile_kernels(kernels, level, in_process=True)
        return load_object(
            code, [k.name for k in kernels if not k.levels or level.name in k.levels]
        )

    return compile_and_load


WHOLE_LEVELS = [level for level in HOST_LEVELS if level.base is None]


@pytest.fixture(params=WHOLE_LEVELS, ids=lambda level: level.name)
def level(request: pytest.FixtureRequest) -> Level:
    """Every level that this machine can run and whose kernels are its own."""
    assert isinstance(request.param, Level)
    return request.param


@pytest.fixture
def vector_levels() -> list[Level]:
    """The levels of this machine that must compute the same bits: those with FMA."""
    return [level for level in WHOLE_LEVELS if "fma" in level.features]


@pytest.fixture
def pair_levels() -> list[Level]:
    """All levels of this machine with FMA: for numbers that are not subnormal, products of pairs
    of bfloat16 have the same bits on them.
    """
    return [level for level in HOST_LEVELS if "fma" in level.features]


_ENCODINGS = {
    "q4z": "int4-g32",
    "q4z64": "int4-g64",
    "q4z128": "int4-g128",
    "q4s": "int4-g32-sym",
    "q4s64": "int4-g64-sym",
    "q4s128": "int4-g128-sym",
    "q4m": "int4-g32-min",
    "q8g": "int8-g32",
    "q8c": "int8",
}


def _random_weight(packing: str, n: int, k: int) -> Weight:
    generator = torch.Generator().manual_seed(n * k)
    if packing in ("f32", "bf16"):
        floats = torch.randn(n, k, generator=generator)
        return floats if packing == "f32" else floats.to(torch.bfloat16)
    kind = Encoding.parse(_ENCODINGS[packing])
    low, high, dtype = (0, 16, torch.uint8) if kind.bits == 4 else (-127, 128, torch.int8)
    codes = torch.randint(low, high, (n, k), generator=generator).to(dtype)
    shape = (n, kind.groups(k))
    scale_type = torch.float16 if kind.scale_bits == 16 else torch.float32
    scales = (torch.rand(shape, generator=generator) * 0.01 + 0.001).to(scale_type)
    offsets = None
    if kind.offset is Offset.ZERO_POINT:
        offsets = torch.randint(0, 16, shape, generator=generator).to(torch.uint8)
    if kind.offset is Offset.MINIMUM:
        offsets = (torch.randn(shape, generator=generator) * 0.05).to(torch.float16)
    return QuantTensor(kind, codes, scales, offsets)


@pytest.fixture
def random_weight() -> Callable[..., Weight]:
    """Return a function that makes a random `[n, k]` weight for a packing, the same each time.

    Codes, scales and offsets are drawn at their extremes, so they need no quantising.
    """
    return _random_weight


@pytest.fixture
def dense() -> Callable[[Weight], np.ndarray]:
    """Return a function that gives the float64 values that a weight stands for."""

    def values(weight: Weight) -> np.ndarray:
        if isinstance(weight, QuantTensor):
            weight = weight.dequantize(torch.float64)
        result: np.ndarray = weight.to(torch.float64).numpy()
        return result

    return values


@pytest.fixture
def packed() -> Callable[[str, Weight], np.ndarray]:
    """Return a function that packs a weight into an aligned buffer."""

    def pack(packing: str, weight: Weight) -> np.ndarray:
        data = PACKINGS[packing].pack(weight).numpy()
        buffer = aligned(data.size, np.uint8)
        buffer[:] = data
        return buffer

    return pack
