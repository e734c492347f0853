"""Linear kernels are accurate, and give one row the same bits whatever its company."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from ingot.ir import round_activations
from ingot.targets.cpu.codegen import kernels_to_assembly
from ingot.targets.cpu.kernel import Kernel
from ingot.targets.cpu.kernels.linear import KernelVariant, linear_kernels
from ingot.targets.cpu.kernels.rounding import float_row_bytes, rounded_row_bytes
from ingot.targets.cpu.levels import AVX2, AVX512, GENERIC, Level
from ingot.targets.cpu.packing import PACKINGS, pack_vector

Jit = Callable[..., Any]

ROWS, CAPACITY = 150, 160
SHAPES = [(77, 100), (40, 161)]


@dataclass(frozen=True)
class Problem:
    """A linear layer and its input; `x` and `weights` as the kernels read them."""

    x: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    outputs: int
    exact: np.ndarray

    @property
    def panels(self) -> int:
        return -(-self.outputs // 16)


def buffer(shape: Sequence[int], dtype: Any, fill: int) -> np.ndarray:
    """Return an array at a multiple of 64 bytes, every byte `fill`."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.full(size + 64, fill, np.uint8)
    start = -raw.ctypes.data % 64
    view: np.ndarray = raw[start : start + size].view(dtype).reshape(shape)
    return view


def rounded_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows in the layout of `int8-act`, and the values that they stand for."""
    rows, k = x.shape
    rounded = round_activations(torch.from_numpy(x))
    groups = -(-k // 32)
    codes = np.zeros((rows, groups * 32), np.int8)
    codes[:, :k] = rounded.values.numpy()
    codes = codes.reshape(rows, groups, 32)
    scales = rounded.scales.numpy()
    sums = codes.astype(np.int32).sum(-1)
    words = np.zeros((rows, groups, 12), np.int32)
    words[..., :8] = codes.view(np.int32)
    words[..., 8] = scales.view(np.int32)
    words[..., 9] = (scales * sums.astype(np.float32)).view(np.int32)
    words[..., 10] = sums.astype(np.float32).view(np.int32)
    words[..., 11] = 0x4B400000 - 128 * sums
    packed = buffer((CAPACITY, rounded_row_bytes(k)), np.uint8, 0x55)
    packed[:rows, : groups * 48] = words.reshape(rows, -1).view(np.uint8)
    return packed, rounded.dequantize(torch.float64).numpy()


def float_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows padded with NaN, which no kernel may read, and their values."""
    rows, k = x.shape
    padded = buffer((CAPACITY, float_row_bytes(k) // 4), np.float32, 0xFF)
    padded[:rows, :k] = x
    return padded, x.astype(np.float64)


@pytest.fixture
def problem(random_weight: Any, dense: Any, packed: Any) -> Callable[[str, int, int], Problem]:
    def make(packing: str, n: int, k: int) -> Problem:
        random = np.random.default_rng(n + k)
        weight = random_weight(packing, n, k)
        bias = random.normal(size=n).astype(np.float32)
        floats = (random.normal(size=(ROWS, k)) * 3).astype(np.float32)
        floats[3] = 0.0
        x, values = (rounded_rows if packing.startswith("q") else float_rows)(floats)
        vector = pack_vector(torch.from_numpy(bias)).numpy()
        exact = values @ dense(weight).T + bias
        return Problem(x, packed(packing, weight), vector, n, exact)

    return make


def run(
    loaded: Any,
    variant: KernelVariant,
    problem: Problem,
    splits: Sequence[int],
    kernel: Kernel | None = None,
) -> np.ndarray:
    """Compute all rows, as many at a time as the variant takes, and panels split like threads."""
    y = buffer((CAPACITY, problem.panels * 16), np.float32, 0x55)
    step = variant.max_rows or ROWS
    name = (kernel or variant.kernel).name
    bias = [problem.bias] if name.endswith("_bias") else []
    for start in range(0, ROWS, step):
        rows = min(step, ROWS - start)
        slots = [problem.x[start:], problem.weights, *bias, y[start:], problem.panels * 64, rows]
        for begin, end in pairwise(splits):
            loaded(name, slots, begin, end)
    return y[:ROWS, : problem.outputs]


def assert_accurate(y: np.ndarray, exact: np.ndarray) -> None:
    assert np.linalg.norm(y - exact) < 1.5e-6 * np.linalg.norm(exact)


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_variant_gives_the_same_accurate_bits(
    packing: str, jit: Jit, level: Any, problem: Any
) -> None:
    n, k = (77, 100) if level.name == "generic" else (112, 896)
    variants = linear_kernels(packing, k, bias=True)
    kernels = [(v, k) for v in variants for k in v.candidates if level.name in k.levels]
    loaded = jit([kernel for _, kernel in kernels], level)
    data = problem(packing, n, k)
    first = run(loaded, variants[0], data, [0, data.panels])
    assert_accurate(first, data.exact)
    for variant, kernel in kernels[1:]:
        y = run(loaded, variant, data, [0, 1, data.panels], kernel)
        assert np.array_equal(y.view(np.int32), first.view(np.int32)), kernel.name


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_odd_shapes_have_the_same_bits_on_every_vector_level(
    packing: str, n: int, k: int, jit: Jit, problem: Any, vector_levels: Any
) -> None:
    variants = linear_kernels(packing, k, bias=False)
    few, many = variants[1], variants[-1]
    data = problem(packing, n, k)
    results = []
    for level in vector_levels:
        loaded = jit([few.kernel, many.kernel], level)
        for variant in (few, many):
            results.append(run(loaded, variant, data, [0, data.panels // 2, data.panels]))
    unbiased = data.exact - data.bias.view(np.float32)[:n]
    assert_accurate(results[0], unbiased)
    for y in results[1:]:
        assert np.array_equal(y.view(np.int32), results[0].view(np.int32))


def test_rows_beyond_the_step_are_computed_only_up_to_the_tile(
    jit: Jit, level: Any, problem: Any
) -> None:
    variants = linear_kernels("q4z", 100, bias=False)
    loaded = jit([variants[-1].kernel], level)
    data = problem("q4z", 77, 100)
    y = buffer((CAPACITY, data.panels * 16), np.float32, 0x55)
    slots = [data.x, data.weights, y, data.panels * 64, 33]
    loaded(variants[-1].kernel.name, slots, 0, data.panels)
    untouched = buffer((1,), np.float32, 0x55)[0]
    assert np.all(y[48:] == untouched) and np.all(y[:33] != untouched)


def test_variants_are_listed_for_rising_row_counts() -> None:
    variants = linear_kernels("q8c", 64, bias=True)
    assert [variant.max_rows for variant in variants] == [1, 2, 4, 8, 16, None]
    assert variants[3].kernel.name == "linear_q8c_k64_m8_bias"
    names = [slot.name for slot in variants[0].kernel.slots]
    assert names == ["x", "weights", "bias", "y", "y_stride", "rows"]


@pytest.mark.parametrize("level", [AVX2, AVX512], ids=lambda level: level.name)
def test_weights_are_asked_for_in_loops_that_stay_rolled(level: Level) -> None:
    kernel = linear_kernels("q4s", 896, bias=False)[0].kernel
    text = kernels_to_assembly([kernel], level)
    # K is taken in blocks and in what is left: 896 leaves nothing.
    assert [text.count(f"\tprefetch{hint}\t") for hint in ("t1", "t0")] == [1, 1]


def test_lines_of_bytes_ask_for_one_each_and_scales_come_after_them() -> None:
    text = kernels_to_assembly([linear_kernels("q8c", 896, bias=False)[0].kernel], AVX512)
    lines = text.splitlines()
    fetched = [number for number, line in enumerate(lines) if "\tprefetch" in line]
    # The scales of a panel of 16 x 896 are behind its 14336 bytes.
    scales = [number for number, line in enumerate(lines) if re.search(r"\b14336\(.*zmm", line)]
    assert len(fetched) == 8, "a group has 8 lines"
    assert len(scales) == 1 and scales[0] > fetched[-1]


@pytest.mark.parametrize("place", [3, 4])
def test_kernels_for_few_rows_call_that_for_any_which_they_would_repeat(place: int) -> None:
    variants = linear_kernels("q4s", 896, bias=False)
    few, any_rows = variants[place].kernel, variants[-1].kernel
    assert few.needs == (any_rows,)
    assert few.name in ("linear_q4s_k896_m8", "linear_q4s_k896_m16")
    text = kernels_to_assembly([few], GENERIC)
    body = text.partition(f"\n{few.name}:")[2].partition(".Lfunc_end")[0]
    assert any_rows.name in body and len(body.splitlines()) < 20
