"""Kernels of convolutions and scans against the recurrences in float64, on odd sizes and chunks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ingot.ir import ACTIVATIONS, Batch
from ingot.ir.interpreter.recurrence import (
    ragged_conv,
    ragged_delta_rule,
    ragged_selective_scan,
    ragged_ssm_scan,
)
from ingot.targets.cpu.kernel import Kernel
from ingot.targets.cpu.kernels.causal_conv import causal_conv_kernel, conv_state_bytes
from ingot.targets.cpu.kernels.delta_rule import DeltaShape, delta_rule_kernel
from ingot.targets.cpu.kernels.selective_scan import (
    selective_scan_kernel,
    selective_state_bytes,
)
from ingot.targets.cpu.kernels.ssm_scan import SsmShape, ssm_scan_kernel
from ingot.targets.cpu.kernels.states import Columns
from ingot.targets.cpu.packing import pack_columns, pack_vector

Jit = Callable[..., Any]
Compiled = Callable[[Any], Any]
T = 23
STARTS = (0, 9, 10, T)
SLOTS = (2, 0, 3)
SENTINEL = 12345.0


@dataclass(frozen=True)
class Case:
    """A kernel, its operands by slot (activations `[T, F]`, packed weights), and its meaning.

    `run` computes the results of the tokens of a slice from a batch, in float64.
    """

    kernel: Kernel
    activations: Mapping[str, Tensor]
    features: int
    state_bytes: int
    parts: int
    run: Callable[[slice, Batch], Tensor]
    weights: Mapping[str, Tensor] = field(default_factory=dict)


def wide(*tensors: Tensor) -> list[Tensor]:
    return [tensor.double() for tensor in tensors]


def conv(channels: int, width: int, kind: str = "silu", bias: bool = True) -> Case:
    x, w, b = torch.randn(T, channels), torch.randn(channels, width), torch.randn(channels)

    def run(s: slice, batch: Batch) -> Tensor:
        xs, ws, bs = wide(x[s], w, b)
        y = ragged_conv(xs, ws, bs if bias else None, batch, layer=0, name="conv0")
        return y if kind == "none" else ACTIVATIONS[kind](y)

    weights = {"w": pack_columns(w.unsqueeze(1)), "b": pack_vector(b)}
    if not bias:
        del weights["b"]
    return Case(
        causal_conv_kernel(channels, width, kind, bias=bias),
        {"x": x},
        channels,
        conv_state_bytes(channels, width),
        Columns(channels).blocks,
        run,
        weights,
    )


def ssm(heads: int, size: int, groups: int, states: int, skip: bool = True) -> Case:
    shape = SsmShape(heads, size, groups, states, skip)
    x, dt = torch.randn(T, heads, size), functional.softplus(torch.randn(T, heads))
    b, c = torch.randn(T, groups, states), torch.randn(T, groups, states)
    a, d = -2 * torch.rand(heads), torch.randn(heads)

    def run(s: slice, batch: Batch) -> Tensor:
        xs, dts, rates, bs, cs, ds = wide(x[s], dt[s], a, b[s], c[s], d)
        skipped = ds if skip else None
        return ragged_ssm_scan(xs, dts, rates, bs, cs, skipped, batch, layer=0).flatten(1)

    weights = {"a": pack_vector(a), "d": pack_vector(d)}
    if not skip:
        del weights["d"]
    return Case(
        ssm_scan_kernel(shape),
        {"x": x.flatten(1), "dt": dt, "b": b.flatten(1), "c": c.flatten(1)},
        heads * size,
        shape.parts * shape.part_bytes,
        shape.parts,
        run,
        weights,
    )


def selective(channels: int, states: int) -> Case:
    x, dt = torch.randn(T, channels), functional.softplus(torch.randn(T, channels))
    b, c, d = torch.randn(T, states), torch.randn(T, states), torch.randn(channels)
    a = -2 * torch.rand(channels, states)

    def run(s: slice, batch: Batch) -> Tensor:
        xs, dts, rates, bs, cs, ds = wide(x[s], dt[s], a, b[s], c[s], d)
        return ragged_selective_scan(xs, dts, rates, bs, cs, ds, batch, layer=0)

    return Case(
        selective_scan_kernel(channels, states, skip=True),
        {"x": x, "dt": dt, "b": b, "c": c},
        channels,
        selective_state_bytes(channels, states),
        Columns(channels).blocks,
        run,
        {"a": pack_columns(a), "d": pack_vector(d)},
    )


def delta(
    heads: int, key_heads: int, key_dim: int, value_dim: int, normalize: bool, rows: bool = False
) -> Case:
    scale = key_dim**-0.5
    shape = DeltaShape(heads, key_heads, key_dim, value_dim, scale, normalize, rows)
    q, k = (torch.randn(T, key_heads, key_dim) / key_dim**0.5 for _ in range(2))
    v, beta = torch.randn(T, heads, value_dim), torch.rand(T, heads)
    g = -functional.softplus(torch.randn(T, heads, key_dim) if rows else torch.randn(T, heads))

    def run(s: slice, batch: Batch) -> Tensor:
        tensors = wide(q[s], k[s], v[s], g[s], beta[s])
        y = ragged_delta_rule(*tensors, batch, layer=0, scale=scale, normalize=normalize)
        return y.flatten(1)

    flat = {"q": q.flatten(1), "k": k.flatten(1), "v": v.flatten(1), "g": g.flatten(1)}
    return Case(
        delta_rule_kernel(shape),
        {**flat, "beta": beta},
        heads * value_dim,
        shape.parts * shape.part_bytes,
        shape.parts,
        run,
    )


CASES: Mapping[str, Callable[[], Case]] = {
    "conv": lambda: conv(64, 4),
    "conv of odd size": lambda: conv(37, 3, "none", bias=False),
    "conv of two taps": lambda: conv(48, 2),
    "ssm": lambda: ssm(4, 64, 2, 16),
    "ssm of odd sizes": lambda: ssm(6, 20, 3, 7, skip=False),
    "ssm of small heads": lambda: ssm(2, 8, 1, 5),
    "selective": lambda: selective(96, 16),
    "selective of odd sizes": lambda: selective(21, 5),
    "delta": lambda: delta(4, 2, 32, 64, normalize=True),
    "delta of odd sizes": lambda: delta(6, 2, 12, 20, normalize=False),
    "delta of rows": lambda: delta(3, 3, 19, 16, normalize=True, rows=True),
}


@pytest.fixture(scope="module")
def compiled(jit: Jit) -> Compiled:
    """Return a function that gives the kernels of all cases for a level, compiled once."""
    return cache(lambda level: jit([make().kernel for make in CASES.values()], level))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(0)
    return CASES[request.param]()


class Machine:
    """A kernel with its pool of states, which is full of NaN until a sequence begins."""

    def __init__(self, case: Case, call: Any) -> None:
        self._case, self._call = case, call
        slots = max(SLOTS) + 1
        self._state = np.full((slots, case.state_bytes // 4), np.nan, np.float32)

    def step(self, spans: Sequence[tuple[int, int, int, int]], shares: int = 1) -> np.ndarray:
        """Run spans of `(first token of the whole, tokens, position, slot)`, by several threads.

        Returns the results `[tokens, features]`; nothing else may be written.
        """
        case = self._case
        taken = [token for first, count, _, _ in spans for token in range(first, first + count)]
        buffers = {name: rows(values[taken].numpy()) for name, values in case.activations.items()}
        y = np.full((len(taken) + 1, -(-case.features // 16) * 16), SENTINEL, np.float32)
        sequences, first = [], 0
        for _, count, position, slot in spans:
            sequences.append((first, count, position, slot))
            first += count
        named = {**buffers, "y": y, "state": self._state}
        named["sequences"] = np.array(sequences, np.int32)
        named |= {name: values.numpy() for name, values in case.weights.items()}
        slots = [
            named[slot.name.removesuffix("_stride")].strides[0]
            if slot.kind == "integer"
            else named[slot.name]
            for slot in case.kernel.slots
        ]
        units = case.parts * len(spans)
        for share in range(shares):
            begin, end = units * share // shares, units * (share + 1) // shares
            self._call(case.kernel.name, slots, begin, end)
        assert (y[:, case.features :] == SENTINEL).all() and (y[-1] == SENTINEL).all()
        return y[:-1, : case.features]


def rows(data: np.ndarray) -> np.ndarray:
    """Return padded rows; the padding is NaN and must not matter."""
    buffer = np.full((len(data), -(-data.shape[1] // 16) * 16), np.nan, np.float32)
    buffer[:, : data.shape[1]] = data
    return buffer


def whole() -> list[tuple[int, int, int, int]]:
    spans = zip(pairwise(STARTS), SLOTS, strict=True)
    return [(start, end - start, 0, slot) for (start, end), slot in spans]


def test_the_recurrence(case: Case, compiled: Compiled, level: Any) -> None:
    found = Machine(case, compiled(level)).step(whole())
    expected = case.run(slice(0, T), Batch(list(STARTS))).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max())


def test_chunks_company_and_threads_do_not_change_a_bit(
    case: Case, compiled: Compiled, level: Any
) -> None:
    together = Machine(case, compiled(level)).step(whole(), shares=3)
    alone = Machine(case, compiled(level))
    for start, end in pairwise(STARTS):
        found, done = [], 0
        for count in (4, 1, 1, 7):
            count = min(count, end - start - done)
            if count:
                found.append(alone.step([(start + done, count, done, 1)]))
            done += count
        assert done == end - start
        np.testing.assert_array_equal(np.concatenate(found), together[start:end])


def test_levels_with_fma_compute_the_same_bits(
    case: Case, compiled: Compiled, vector_levels: Sequence[Any]
) -> None:
    results = [Machine(case, compiled(level)).step(whole()) for level in vector_levels]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
