"""Linear kernels on activations rounded to bfloat16, whose pairs one instruction multiplies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from ingot.runtime._native import CodeObject
from ingot.targets.cpu.build import F32, I32
from ingot.targets.cpu.codegen import begin_levels, kernels_to_assembly
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.kernels.activation import glu_kernel
from ingot.targets.cpu.kernels.linear import linear_kernels
from ingot.targets.cpu.kernels.norm import rms_norm_kernel
from ingot.targets.cpu.kernels.rounding import bf16_row_bytes, float_row_bytes, round_kernel
from ingot.targets.cpu.levels import AVX2, AVX512, AVX512BF16, GENERIC, Level
from ingot.targets.cpu.packing import PACKINGS

Jit = Callable[..., Any]

ROWS, CAPACITY = 140, 144


@dataclass(frozen=True)
class Layer:
    """A linear layer of bfloat16 weights, and rows of float32 for it."""

    x: np.ndarray
    weight: torch.Tensor
    packed: np.ndarray

    @property
    def panels(self) -> int:
        return -(-self.weight.shape[0] // 16)

    def exact(self) -> np.ndarray:
        rounded = torch.from_numpy(self.x).to(torch.bfloat16).double()
        return (rounded @ self.weight.double().T).numpy()


def layer(n: int, k: int) -> Layer:
    random = np.random.default_rng(n * k)
    weight = torch.from_numpy(random.normal(size=(n, k)).astype(np.float32)).to(torch.bfloat16)
    x = (random.normal(size=(ROWS, k)) * 3).astype(np.float32)
    x[3] = 0.0
    return Layer(x, weight, aligned(PACKINGS["bf16"].pack(weight).numpy()))


def aligned(data: np.ndarray) -> np.ndarray:
    """Return a copy at a multiple of 64 bytes."""
    raw = np.zeros(data.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    raw[start : start + data.nbytes] = data.reshape(-1).view(np.uint8)
    return raw[start : start + data.nbytes]


def rounded_rows(loaded: Any, x: np.ndarray) -> np.ndarray:
    """Return rows in the layout of `bf16-act` of a level, by its own kernel."""
    k = x.shape[1]
    stride = float_row_bytes(k)
    floats = aligned(np.pad(x, ((0, 0), (0, stride // 4 - k)), constant_values=np.nan))
    rows = aligned(np.full((CAPACITY, bf16_row_bytes(k)), 0x55, np.uint8))
    loaded(f"round_bf16_{k}", [floats, stride, rows, bf16_row_bytes(k)], 0, len(x))
    return rows.reshape(CAPACITY, -1)


def results(loaded: Any, kernel: Kernel, rows: int, case: Layer) -> np.ndarray:
    """Compute all rows, `rows` at a time, and panels split like threads."""
    x, y = rounded_rows(loaded, case.x), np.zeros((CAPACITY, case.panels * 16), np.float32)
    for start in range(0, ROWS, rows):
        count = min(rows, ROWS - start)
        slots = [x[start:], case.packed, y[start:], case.panels * 64, count]
        for begin, end in pairwise([0, 1, case.panels]):
            loaded(kernel.name, slots, begin, end)
    return y[:ROWS, : case.weight.shape[0]]


def bits(values: np.ndarray) -> np.ndarray:
    return values.view(np.int32)


@pytest.mark.parametrize(("n", "k"), [(112, 896), (40, 33), (77, 100)])
def test_all_kernels_and_levels_give_the_same_accurate_bits(
    n: int, k: int, jit: Jit, pair_levels: Sequence[Level]
) -> None:
    case, first = layer(n, k), None
    variants = linear_kernels("bf16", k, bias=False, pairs=True)
    for level in pair_levels:
        kernels = [(v, one) for v in variants for one in v.candidates if level.name in one.levels]
        loaded = jit([round_kernel(k, "bf16"), *(kernel for _, kernel in kernels)], level)
        for variant, kernel in kernels:
            y = results(loaded, kernel, variant.max_rows or ROWS, case)
            first = y if first is None else first
            assert np.array_equal(bits(y), bits(first)), f"{kernel.name} at {level.name}"
    assert first is not None
    exact = case.exact()
    assert np.linalg.norm(first - exact) < 1.5e-6 * np.linalg.norm(exact)


def test_the_level_without_fma_is_as_accurate(jit: Jit) -> None:
    case, variants = layer(40, 100), linear_kernels("bf16", 100, bias=False, pairs=True)
    loaded = jit([round_kernel(100, "bf16"), *(v.kernel for v in variants)], GENERIC)
    found = [results(loaded, v.kernel, v.max_rows or ROWS, case) for v in variants]
    assert all(np.array_equal(bits(y), bits(found[0])) for y in found)
    exact = case.exact()
    assert np.linalg.norm(found[0] - exact) < 1.5e-6 * np.linalg.norm(exact)


def add_pairs(level: Level, arguments: Arguments) -> None:
    sums = arguments.pointer("sums")
    a, b = (arguments.pointer(name).load(I32.x(16)) for name in ("a", "b"))
    sums.store(level.dot_bf16(sums.load(F32.x(16)), a, b))


def test_only_subnormal_numbers_differ_between_levels(
    jit: Jit, pair_levels: Sequence[Level]
) -> None:
    kernel = Kernel("add_pairs", tuple(map(Slot, ("sums", "a", "b"))), add_pairs)
    a = np.array([1.5, -2.0, 0.0, 2.0**-130] * 8, np.float32)
    b = np.array([3.0, 0.25, 7.0, 2.0**120] * 8, np.float32)
    pairs = [(bits(x) >> 16).astype(np.uint16) for x in (a, b)]
    for level in pair_levels:
        sums = np.full(16, 2.0**-20, np.float32)
        jit([kernel], level)("add_pairs", [sums, *pairs])
        small = np.float32(0.0 if level.bf16_dot else 2.0**-10)
        exact = [np.float32(np.float32(2.0**-20 - 0.5) + 4.5), np.float32(2.0**-20) + small]
        assert sums.tolist() == exact * 8


def test_a_level_with_a_base_holds_what_differs() -> None:
    plain, rounded = glu_kernel("silu", 64), glu_kernel("silu", 64, sink="bf16")
    waiting = begin_levels([plain, rounded], [AVX512, AVX512BF16])
    objects = {level: wait() for level, wait in waiting.items()}
    assert set(CodeObject(objects["avx512"]).functions) == {plain.name, rounded.name}
    assert set(CodeObject(objects["avx512bf16"]).functions) == {rounded.name}


def test_kernels_say_whether_they_differ() -> None:
    kernels = [
        round_kernel(64),
        round_kernel(64, "bf16"),
        glu_kernel("silu", 64, sink="bf16"),
        rms_norm_kernel(64, 1e-6, sink="bf16"),
        rms_norm_kernel(64, 1e-6),
        linear_kernels("bf16", 64, bias=False)[0].kernel,
        linear_kernels("bf16", 64, bias=False, pairs=True)[0].kernel,
    ]
    for kernel in kernels:
        texts = [kernels_to_assembly([kernel], level) for level in (AVX512, AVX512BF16)]
        assert (texts[0] != texts[1]) == kernel.bf16, kernel.name
    assert "vdpbf16ps" in texts[1]
    assert "zmm" not in kernels_to_assembly(kernels[-1:], AVX2)
