"""The expression layer computes what it says, on every level that this machine can run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ingot.targets.cpu.build import (
    F32,
    I1,
    I8,
    I16,
    I32,
    I64,
    Type,
    Value,
    absolute,
    choose,
    concat,
    constant,
    iota,
    loop,
    maximum,
    minimum,
    narrow_to_bf16,
    reduce_add,
    reduce_max,
    round_half_even,
    select,
    shuffle,
    splat,
    square_root,
    when,
    widen_bf16,
)
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import Level

Jit = Callable[..., Any]
Body = Callable[[Level, Arguments], None]

FLOATS = F32.x(16)


def run(jit: Jit, level: Level, body: Body, **arrays: np.ndarray) -> None:
    """Compile `body` over slots named like `arrays` and run it once."""
    kernel = Kernel("kernel", tuple(Slot(name) for name in arrays), body)
    jit([kernel], level)("kernel", list(arrays.values()))


def apply(
    jit: Jit, level: Level, function: Callable[[Value], Value], x: np.ndarray, source: Type
) -> np.ndarray:
    """Return `function` of the vector x, as the bytes of the result."""
    y = np.zeros(256, np.uint8)

    def body(_: Level, arguments: Arguments) -> None:
        result = function(arguments.pointer("x").load(source))
        arguments.pointer("y").store(result)

    run(jit, level, body, x=np.ascontiguousarray(x), y=y)
    return y


def sample(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=16).astype(np.float32)


def test_arithmetic_is_not_contracted(jit: Jit, level: Level) -> None:
    x = sample()
    y = apply(jit, level, lambda v: v * v + v - 1.0 / v, x, FLOATS).view(np.float32)[:16]
    assert np.array_equal(y, x * x + x - np.float32(1) / x)


def test_integer_operators(jit: Jit, level: Level) -> None:
    x = np.arange(-8, 8, dtype=np.int32)
    cases: list[tuple[Callable[[Value], Value], np.ndarray]] = [
        (lambda v: (v * 3 - 1) & 0xFF, (x * 3 - 1) & 0xFF),
        (lambda v: (v | 1) ^ 2, (x | 1) ^ 2),
        (lambda v: v << 4, x << 4),
        (lambda v: v >> 4, (x.view(np.uint32) >> 4).view(np.int32)),
        (lambda v: v.shift_right_signed(1), x >> 1),
        (lambda v: v // 3, np.trunc(x / 3).astype(np.int32)),
        (lambda v: v % 3, np.fmod(x, 3)),
        (lambda v: -v, -x),
    ]
    for function, expected in cases:
        y = apply(jit, level, function, x, I32.x(16)).view(np.int32)[:16]
        assert np.array_equal(y, expected)


def test_comparisons_and_selection(jit: Jit, level: Level) -> None:
    x = np.arange(-8, 8, dtype=np.int32)
    cases: list[tuple[Callable[[Value], Value], np.ndarray]] = [
        (lambda v: v < 3, x < 3),
        (lambda v: v <= 3, x <= 3),
        (lambda v: v > 3, x > 3),
        (lambda v: v >= 3, x >= 3),
        (lambda v: v.equals(3), x == 3),
        (lambda v: v.differs(3), x != 3),
        (lambda v: v.below(3), x.view(np.uint32) < 3),
    ]
    for function, expected in cases:

        def chosen(v: Value, function: Callable[[Value], Value] = function) -> Value:
            return select(function(v), constant(v.type, 1), 0)

        y = apply(jit, level, chosen, x, I32.x(16)).view(np.int32)[:16]
        assert np.array_equal(y, expected.astype(np.int32))


def test_conversions(jit: Jit, level: Level) -> None:
    x = np.arange(-8, 8, dtype=np.int8)
    cases: list[tuple[Callable[[Value], Value], np.ndarray]] = [
        (lambda v: v.to(I32), x.astype(np.int32)),
        (lambda v: v.to_unsigned(I32), x.view(np.uint8).astype(np.int32)),
        (lambda v: v.to(F32), x.astype(np.float32)),
        (lambda v: v.to_unsigned(F32), x.view(np.uint8).astype(np.float32)),
        (lambda v: (v.to(F32) * 1.5).to(I32), np.trunc(x * 1.5).astype(np.int32)),
        (lambda v: v.to(I32).to(I16), x.astype(np.int16)),
    ]
    for function, expected in cases:
        y = apply(jit, level, function, x, I8.x(16)).view(expected.dtype)[:16]
        assert np.array_equal(y, expected)


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_reductions_have_a_fixed_order(jit: Jit, level: Level, lanes: int) -> None:
    x = sample()[:lanes]
    expected = x
    while len(expected) > 1:
        half = len(expected) // 2
        expected = expected[:half] + expected[half:]
    total = apply(jit, level, reduce_add, x, F32.x(lanes)).view(np.float32)[0]
    largest = apply(jit, level, reduce_max, x, F32.x(lanes)).view(np.float32)[0]
    assert (total, largest) == (expected[0], x.max())


def test_functions_of_floats(jit: Jit, level: Level) -> None:
    x = sample()
    cases: list[tuple[Callable[[Value], Value], np.ndarray]] = [
        (lambda v: maximum(v, 0.5), np.maximum(x, np.float32(0.5))),
        (lambda v: minimum(v, 0.5), np.minimum(x, np.float32(0.5))),
        (absolute, np.abs(x)),
        (lambda v: square_root(absolute(v)), np.sqrt(np.abs(x))),
        (lambda v: shuffle(v, v, range(15, -1, -1)), x[::-1]),
        (lambda v: concat(v.lanes(8, 8), v.lanes(0, 8)), np.roll(x, 8)),
        (lambda v: splat(v.lane(3), 16), np.full(16, x[3])),
        (lambda v: v.lane(3) * v, x[3] * x),
    ]
    for function, expected in cases:
        y = apply(jit, level, function, x, FLOATS).view(np.float32)[:16]
        assert np.array_equal(y, expected)


def test_rounding_takes_halves_to_even(jit: Jit, level: Level) -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999998, 127.5, 3.0], np.float32)
    y = apply(jit, level, round_half_even, x, F32.x(8)).view(np.int32)[:8]
    assert np.array_equal(y, np.rint(x).astype(np.int32))


def test_bfloat16(jit: Jit, level: Level) -> None:
    x = np.array([1.0, 1.00390625, 1.01171875, -3.1415927, 1e-30, 0.0, -2.0, 65000.0], np.float32)
    bits = x.view(np.uint32)
    expected = ((bits + ((bits >> 16) & 1) + 0x7FFF) >> 16).astype(np.uint16)
    narrow = apply(jit, level, narrow_to_bf16, x, F32.x(8)).view(np.uint16)[:8]
    assert np.array_equal(narrow, expected)
    wide = apply(jit, level, widen_bf16, expected, I16.x(8)).view(np.uint32)[:8]
    assert np.array_equal(wide, expected.astype(np.uint32) << 16)


def test_every_finite_half_converts_exactly(jit: Jit, level: Level) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    halves = bits[np.isfinite(bits.view(np.float16))]
    y = np.zeros(len(halves), np.float32)

    def body(level: Level, arguments: Arguments) -> None:
        with loop(0, len(halves), 16) as each:
            loaded = arguments.pointer("x").load(I16.x(16), each.index * 2)
            arguments.pointer("y").store(level.half_to_float(loaded), each.index * 4)

    assert len(halves) % 16 == 0
    run(jit, level, body, x=halves, y=y)
    assert np.array_equal(y, halves.view(np.float16).astype(np.float32))


@pytest.mark.parametrize("limit", [15, 31, 143, 255])
def test_dot_products_are_exact_at_the_extremes(jit: Jit, level: Level, limit: int) -> None:
    random = np.random.default_rng(limit)
    weights = random.choice([0, 1, limit], size=(8, 16, 4)).astype(np.uint8)
    weights[:, 0] = limit
    activations = random.choice([-127, 127], size=(8, 4)).astype(np.int8)
    activations[:, :] = np.where(np.arange(8)[:, None] < 6, 127, activations)
    start = np.arange(16, dtype=np.int32)
    y = np.zeros(16, np.int32)

    def body(level: Level, arguments: Arguments) -> None:
        w, a, start = (arguments.pointer(name) for name in ("w", "a", "start"))
        total = level.dot(
            start.load(I32.x(16)),
            [w.load(I8.x(64), 64 * quad) for quad in range(8)],
            [a.load_splat(I32.x(16), 4 * quad) for quad in range(8)],
            limit,
        )
        arguments.pointer("y").store(total)

    run(jit, level, body, w=weights, a=activations, start=start, y=y)
    products = weights.astype(np.int32) * activations.astype(np.int32)[:, None, :]
    assert np.array_equal(y, start + products.sum((0, 2)))


def test_fma_rounds_once_where_there_is_fma(jit: Jit, level: Level) -> None:
    x = np.full(16, 1 + 2.0**-12, np.float32)
    y = np.zeros(16, np.float32)

    def body(level: Level, arguments: Arguments) -> None:
        v = arguments.pointer("x").load(FLOATS)
        arguments.pointer("y").store(level.fma(v, v, constant(FLOATS, -1.0)))

    run(jit, level, body, x=x, y=y)
    once, twice = 2.0**-11 + 2.0**-24, 2.0**-11
    assert set(y) == {np.float32(once if "fma" in level.features else twice)}


def test_loops_branches_and_masks(jit: Jit, level: Level) -> None:
    x, y = sample(), np.full(32, -1, np.float32)

    def body(_: Level, arguments: Arguments) -> None:
        source, to = arguments.pointer("x"), arguments.pointer("y")
        with loop(0, 16, 3, [constant(F32, 0.0), constant(I64, 0)]) as each:
            total, count = each.carried
            each.carry(total + source.load(F32, each.index * 4), count + 1)
        total, count = each.results
        to.store(total)
        with when(count > 5):
            to.store(count.to(F32), 4)
        with when(count > 6):
            to.store(count.to(F32), 8)
        (chosen,) = choose(
            count.equals(6),
            lambda: [constant(F32, 3.0)],
            lambda: [constant(F32, 4.0)],
            [F32],
        )
        to.store(chosen, 12)
        mask = iota(I32.x(16)) < 5
        to.store_masked(source.load_masked(FLOATS, mask), mask, 64)

    run(jit, level, body, x=x, y=y)
    total = np.float32(0)
    for item in x[::3]:
        total += item
    assert list(y[:4]) == [total, 6, -1, 3]
    assert np.array_equal(y[16:21], x[:5]) and set(y[21:]) == {-1}


def test_types_know_their_size() -> None:
    assert (F32.x(16).size, I8.size, I1.x(8).size, I64.bits) == (64, 1, 1, 64)
    assert F32.x(4).scalar == F32 and not I32.is_float
