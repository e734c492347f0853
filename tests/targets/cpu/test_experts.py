"""The kernels of routers and experts compute what the operations mean."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.phimoe.modeling_phimoe import sparsemixer

from ingot.ir import ExpertUnit
from ingot.ir.interpreter.experts import mix_experts
from ingot.targets.cpu.kernels.experts import (
    expert_linear_kernel,
    group_kernel,
    mix_kernel,
    route_kernel,
    spread_kernel,
    unit_kernel,
)
from ingot.targets.cpu.kernels.experts.route import Routing
from ingot.targets.cpu.kernels.linear import linear_kernels
from ingot.targets.cpu.kernels.rounding import round_kernel, row_bytes_of

Jit = Callable[..., Any]

TOKENS, EXPERTS, CHOICES, FEATURES, HIDDEN = 21, 7, 3, 48, 32
LIMITED = ExpertUnit(alpha=1.7, limit=0.5, up_shift=1.0)


def array(shape: tuple[int, ...], dtype: Any = np.float32, fill: int = 0xFF) -> np.ndarray:
    """Return an array at a multiple of 64 bytes; every byte is `fill`, which makes floats NaN."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.full(size + 64, fill, np.uint8)
    start = -raw.ctypes.data % 64
    view: np.ndarray = raw[start : start + size].view(dtype).reshape(shape)
    return view


def filled(values: np.ndarray, columns: int = 0) -> np.ndarray:
    """Return float32 or int32 rows in a buffer of `columns`, the rest NaN."""
    buffer = array((len(values), columns or values.shape[1]), values.dtype)
    buffer[:, : values.shape[1]] = values
    return buffer


ROUTERS = {
    "softmax": Routing(40, 5, "softmax", True, 0.0, 1.0, 1, 1, "max", False),
    "chosen": Routing(6, 2, "softmax_chosen", False, 0.0, 1.0, 1, 1, "max", False),
    "biased": Routing(20, 3, "sigmoid_chosen", True, 0.0, 1.0, 1, 1, "max", True),
    "grouped": Routing(48, 6, "sigmoid", True, 1e-20, 2.5, 8, 3, "top2", True),
    "best groups": Routing(48, 4, "softmax", False, 0.0, 16.0, 6, 2, "max", False),
}


@pytest.mark.parametrize("routing", ROUTERS.values(), ids=ROUTERS)
def test_routes_are_those_of_the_reference(
    routing: Routing, jit: Jit, level: Any, reference_route: Callable[..., Any]
) -> None:
    random = np.random.default_rng(routing.experts)
    logits = random.normal(size=(TOKENS, routing.experts)).astype(np.float32)
    logits[3] = 0.25
    bias = (random.normal(size=routing.experts) * 0.3).astype(np.float32)
    indices, weights = array((TOKENS, 16), np.int32), array((TOKENS, 16))
    kernel = route_kernel(routing)
    slots = [filled(logits, 64), 256]
    slots += [filled(bias[None])] if routing.bias else []
    jit([kernel], level)(kernel.name, [*slots, indices, 64, weights, 64], 0, TOKENS)
    chosen, expected = reference_route(routing, logits, bias)
    np.testing.assert_array_equal(indices[:, : routing.choices], chosen)
    np.testing.assert_allclose(weights[:, : routing.choices], expected, rtol=3e-6)


def test_one_after_another_as_sparsemixer_does(jit: Jit, level: Any) -> None:
    routing = Routing(16, 2, "mixer", False, 0.0, 1.0, 1, 1, "max", False, threshold=0.2)
    logits = np.random.default_rng(4).normal(size=(TOKENS, 16)).astype(np.float32)
    logits[5] = -1.0 - np.arange(16) * 0.01
    indices, weights = array((TOKENS, 16), np.int32), array((TOKENS, 16))
    kernel = route_kernel(routing)
    slots = [filled(logits), 64, indices, 64, weights, 64]
    jit([kernel], level)(kernel.name, slots, 0, TOKENS)
    shares, chosen = sparsemixer(torch.from_numpy(logits), 0.1, training=False)
    np.testing.assert_array_equal(indices[:, :2], chosen)
    np.testing.assert_allclose(weights[:, :2], shares, rtol=3e-6)


def test_a_token_without_a_number_still_has_experts_that_exist(jit: Jit, level: Any) -> None:
    routing = ROUTERS["softmax"]
    kernel = route_kernel(routing)
    indices, weights = array((1, 16), np.int32), array((1, 16))
    slots = [array((1, 48)), 192, indices, 64, weights, 64]
    jit([kernel], level)(kernel.name, slots, 0, 1)
    found = indices[0, : routing.choices]
    assert found.min() >= 0 and found.max() < routing.experts


@pytest.fixture
def reference_route() -> Callable[..., Any]:
    """Return the formula of `lm.route` in float64."""

    def compute(routing: Routing, logits: np.ndarray, bias: np.ndarray) -> Any:
        x = torch.from_numpy(logits).double()
        functions = {"softmax": lambda t: t.softmax(-1), "sigmoid": torch.sigmoid}
        scores = functions.get(routing.score, lambda t: t)(x)
        ranking = scores + torch.from_numpy(bias) if routing.bias else scores.clone()
        grouped = ranking.view(len(x), routing.groups, -1)
        best = grouped.topk(2 if routing.group_score == "top2" else 1, dim=-1).values.sum(-1)
        keep = best.sort(dim=-1, descending=True, stable=True).indices[
            :, : routing.groups_per_token
        ]
        mask = torch.zeros_like(best, dtype=torch.bool).scatter(1, keep, True)
        ranking = torch.where(mask[..., None], grouped, -torch.inf).flatten(1)
        order = ranking.sort(dim=-1, descending=True, stable=True).indices
        chosen = order[:, : routing.choices]
        weights = scores.gather(1, chosen)
        if routing.score == "softmax_chosen":
            weights = weights.softmax(-1)
        if routing.score == "sigmoid_chosen":
            weights = weights.sigmoid()
        if routing.normalize:
            weights = weights / (weights.sum(-1, keepdim=True) + routing.eps)
        return chosen.numpy(), (weights * routing.scale).numpy()

    return compute


@pytest.fixture
def chosen() -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights; the expert 4 is never chosen, expert 2 by most tokens."""
    random = np.random.default_rng(1)
    others = np.array([0, 1, 3, 5, 6])
    rows = [random.permutation(others)[:CHOICES] for _ in range(TOKENS)]
    indices = np.array(rows, np.int32)
    indices[: TOKENS - 1, 1] = 2
    return indices, random.random((TOKENS, CHOICES)).astype(np.float32)


def test_pairs_are_sorted_by_expert_and_stay_in_the_order_of_tokens(
    jit: Jit, level: Any, chosen: Any
) -> None:
    indices, _ = chosen
    kernel = group_kernel(EXPERTS, CHOICES)
    places, starts = array((TOKENS, 16), np.int32), array((EXPERTS + 1,), np.int32)
    slots = [filled(indices, 16), 64, places, 64, starts, TOKENS]
    jit([kernel], level)(kernel.name, slots)
    counts = np.bincount(indices.ravel(), minlength=EXPERTS)
    assert starts.tolist() == [0, *counts.cumsum()]
    order = np.argsort(indices.ravel(), kind="stable")
    np.testing.assert_array_equal(places[:, :CHOICES].ravel()[order], np.arange(len(order)))


@pytest.mark.parametrize("unit", [ExpertUnit("gelu_tanh"), LIMITED], ids=["gelu", "clamped"])
@pytest.mark.parametrize("weigh_input", [False, True])
def test_experts_mix_as_the_formula_says(
    unit: ExpertUnit, weigh_input: bool, jit: Jit, level: Any, chosen: Any, packed: Any
) -> None:
    indices, weights = chosen
    random = np.random.default_rng(2)
    x = random.normal(size=(TOKENS, FEATURES)).astype(np.float32)
    up = torch.from_numpy(random.normal(size=(EXPERTS, 2 * HIDDEN, FEATURES)) * 0.1).float()
    down = torch.from_numpy(random.normal(size=(EXPERTS, FEATURES, HIDDEN)) * 0.1).float()
    # What is not chosen must not be touched, or NaN spreads to the rows beside it.
    up[4], down[4] = torch.nan, torch.nan
    pairs = TOKENS * CHOICES + 16
    spread, projected = array((pairs, FEATURES)), array((pairs, 2 * HIDDEN))
    hidden, results = array((pairs, HIDDEN)), array((pairs, FEATURES))
    places, starts = array((TOKENS, 16), np.int32), array((EXPERTS + 1,), np.int32)
    y = array((TOKENS, FEATURES))
    first = expert_linear_kernel("f32", FEATURES, EXPERTS, 2 * HIDDEN, bias=False)
    second = expert_linear_kernel("f32", HIDDEN, EXPERTS, FEATURES, bias=False)
    between = unit_kernel(unit, HIDDEN, CHOICES, weigh=weigh_input, sink="float")
    mix = mix_kernel(FEATURES, CHOICES, weigh=not weigh_input)
    group, copy = group_kernel(EXPERTS, CHOICES), spread_kernel(4 * FEATURES, CHOICES)
    loaded = jit([first, second, between, mix, group, copy], level)

    choice, where = [filled(indices, 16), 64], [places, 64]
    weighing = [filled(weights, 16), 64]
    loaded(group.name, [*choice, *where, starts, TOKENS])
    loaded(copy.name, [x, 4 * FEATURES, *where, spread, 4 * FEATURES], 0, TOKENS * CHOICES)
    matrix = packed("f32", up.flatten(0, 1))
    for begin, end in pairwise([0, 1, 2 * HIDDEN // 16]):
        loaded(first.name, [spread, matrix, projected, 8 * HIDDEN, starts], begin, end)
    slots = [projected, 8 * HIDDEN, *where, *weighing, hidden, 4 * HIDDEN]
    loaded(between.name, slots, 0, TOKENS * CHOICES)
    matrix = packed("f32", down.flatten(0, 1))
    loaded(second.name, [hidden, matrix, results, 4 * FEATURES, starts], 0, FEATURES // 16)
    slots = [results, 4 * FEATURES, *where, *weighing, y, 4 * FEATURES]
    loaded(mix.name, slots, 0, TOKENS)

    expected = mix_experts(
        torch.from_numpy(x).double(),
        torch.from_numpy(indices),
        torch.from_numpy(weights).double(),
        (lambda rows, e: rows @ up[e].double().T, lambda rows, e: rows @ down[e].double().T),
        unit,
        weigh_input=weigh_input,
    )
    np.testing.assert_allclose(y, expected.numpy(), rtol=0, atol=2e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("packing", ["q4z", "q8c", "bf16"])
def test_each_row_has_the_bits_that_the_linear_of_its_expert_gives_it_alone(
    packing: str, jit: Jit, pair_levels: Any, random_weight: Any, packed: Any
) -> None:
    counts, k, outputs = [1, 0, 5, 17], 64, 32
    starts = filled(np.array([[0, *np.cumsum(counts)]], np.int32))
    pairs, sink = packing == "bf16", "bf16" if packing == "bf16" else "rounded"
    kernel = expert_linear_kernel(packing, k, len(counts), outputs, bias=False, pairs=pairs)
    one = linear_kernels(packing, k, bias=False, pairs=pairs)[0].kernel
    rounding = round_kernel(k, sink)
    loaded = jit([kernel, one, rounding], pair_levels[-1])
    rows, row_bytes = sum(counts), row_bytes_of(sink, k)
    floats = filled(np.random.default_rng(3).normal(size=(rows, k)).astype(np.float32))
    x = array((rows + 16, row_bytes), np.uint8)
    data = packed(packing, random_weight(packing, len(counts) * outputs, k))
    loaded(rounding.name, [floats, 4 * k, x, row_bytes], 0, rows)
    y, expected = array((rows + 16, outputs)), array((rows + 16, outputs))
    loaded(kernel.name, [x, data, y, 4 * outputs, starts], 0, outputs // 16)
    for row in range(rows):
        expert = int(np.searchsorted(np.cumsum(counts), row, side="right"))
        own = data[len(data) // len(counts) * expert :]
        loaded(one.name, [x[row:], own, expected[row:], 4 * outputs, 1], 0, outputs // 16)
    assert np.isfinite(y[:rows]).all()
    np.testing.assert_array_equal(y[:rows].view(np.int32), expected[:rows].view(np.int32))
