"""Routers and experts mean what the plain formulas say."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.phimoe.modeling_phimoe import sparsemixer

from ingot.ir import (
    DYNAMIC,
    Encoding,
    ExpertRows,
    Experts,
    ExpertUnit,
    IntegerType,
    InvalidModuleError,
    Route,
    SelectRows,
    quantize,
    round_activations,
    tensor_type,
)

Build = Any
T, H, F, E, K = 7, 32, 32, 5, 2


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def choices(build: Build, count: int = K) -> Any:
    return tensor_type([DYNAMIC, count], IntegerType.get_signless(32, build.context))


def route(build: Build, logits: Tensor, bias: Tensor | None = None, **attributes: Any) -> Any:
    kinds = [build.activation(logits.shape[1])]
    inputs = [logits]
    if bias is not None:
        kinds.append(build.weight(len(bias)))
        inputs.append(bias)
    op = build(lambda *values: Route(*values, **attributes), *kinds)
    return op.reference(*inputs)


def test_the_best_by_softmax_with_the_lower_index_first_among_equals(build: Build) -> None:
    logits = torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    indices, weights = route(build, logits, experts_per_token=3)
    assert indices.tolist() == [[1, 2, 3], [0, 1, 2]] and indices.dtype == torch.int32
    expected = logits.softmax(-1).gather(1, indices.long())
    torch.testing.assert_close(weights, expected)


def test_a_bias_chooses_but_does_not_weigh(build: Build) -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    bias = torch.tensor([2.0, 0.0, 0.0])
    indices, weights = route(
        build,
        logits,
        bias,
        experts_per_token=2,
        score="sigmoid",
        normalize=True,
        eps=0.5,
        scale=2.5,
    )
    assert indices.tolist() == [[0, 2]]
    chosen = torch.tensor([[0.0, 2.0]]).sigmoid()
    torch.testing.assert_close(weights, 2.5 * chosen / (chosen.sum() + 0.5))


def test_softmax_over_the_chosen_alone(build: Build) -> None:
    logits = torch.randn(T, 6)
    indices, weights = route(build, logits, experts_per_token=3, score="softmax_chosen")
    best = logits.topk(3)
    assert torch.equal(indices.long(), best.indices)
    torch.testing.assert_close(weights, best.values.softmax(-1))


def test_one_after_another_as_sparsemixer_does(build: Build) -> None:
    logits = torch.randn(T, 16)
    options = {"experts_per_token": 2, "score": "mixer", "threshold": 0.02}
    indices, weights = route(build, logits, **options)
    shares, chosen = sparsemixer(logits, 0.01, training=False)
    assert torch.equal(indices.long(), chosen)
    torch.testing.assert_close(weights, shares)


@pytest.mark.parametrize(("kind", "best"), [("max", [3, 2]), ("top2", [0, 1])])
def test_only_experts_of_the_best_groups(build: Build, kind: str, best: list[int]) -> None:
    logits = torch.tensor([[0.8, 0.7, 0.1, 0.9, -1.0, -2.0]])
    indices, _ = route(
        build,
        logits,
        experts_per_token=2,
        score="sigmoid",
        groups=3,
        groups_per_token=1,
        group_score=kind,
    )
    assert indices.tolist() == [best]


def experts(
    build: Build, unit: ExpertUnit, *, bias: bool = False, encoding: str = "", **options: Any
) -> Any:
    up = F * (2 if unit.gated else 1)
    kinds = [
        build.activation(H, rounded=bool(encoding)),
        choices(build),
        build.activation(K),
        build.weight(E * up, H, encoding=encoding),
        build.weight(E * H, F, encoding=encoding),
    ]
    if bias:
        kinds += [build.weight(E * up), build.weight(E * H)]
    return build(lambda *values: Experts(*values, experts=E, unit=unit, **options), *kinds)


def inputs(unit: ExpertUnit, bias: bool) -> list[Tensor]:
    up = F * (2 if unit.gated else 1)
    indices = torch.stack([torch.randperm(E)[:K] for _ in range(T)]).int()
    tensors = [torch.randn(T, H), indices, torch.rand(T, K)]
    tensors += [torch.randn(E * up, H), torch.randn(E * H, F)]
    return [*tensors, torch.randn(E * up), torch.randn(E * H)] if bias else tensors


def plain(unit: ExpertUnit, values: list[Tensor], weigh_input: bool = False) -> Tensor:
    """The formula, token by token."""
    x, indices, weights, up, down, *biases = values
    ups, downs = up.view(E, -1, H), down.view(E, H, F)
    shifts = [b.view(E, -1) for b in biases] or [torch.zeros(E, 1), torch.zeros(E, 1)]
    rows = []
    for token in range(T):
        total = torch.zeros(H)
        for expert, weight in zip(indices[token].tolist(), weights[token], strict=True):
            row = x[token] * weight if weigh_input else x[token]
            inside = ups[expert] @ row + shifts[0][expert]
            gate, rest = inside[:F], inside[F:] if unit.gated else torch.ones(F)
            if unit.limit:
                gate, rest = gate.clamp(max=unit.limit), rest.clamp(-unit.limit, unit.limit)
            hidden = gate * torch.sigmoid(unit.alpha * gate) * (rest + unit.up_shift)
            result = downs[expert] @ hidden + shifts[1][expert]
            total = total + (result if weigh_input else weight * result)
        rows.append(total)
    return torch.stack(rows)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "unit",
    [ExpertUnit(), ExpertUnit(gated=False), ExpertUnit(alpha=1.7, limit=2.0, up_shift=1.0)],
    ids=["gated", "plain", "clamped"],
)
def test_experts_are_the_weighted_sum(build: Build, unit: ExpertUnit, bias: bool) -> None:
    values = inputs(unit, bias)
    found = experts(build, unit, bias=bias).reference(*values)
    torch.testing.assert_close(found, plain(unit, values), rtol=1e-4, atol=1e-4)


def test_weights_may_multiply_the_input(build: Build) -> None:
    values = inputs(ExpertUnit(), bias=False)
    found = experts(build, ExpertUnit(), weigh_input=True).reference(*values)
    expected = plain(ExpertUnit(), values, weigh_input=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_encoded_experts_take_rounded_rows_and_round_between(build: Build) -> None:
    values = inputs(ExpertUnit(), bias=False)
    encoding = Encoding.parse("int8")
    x, up, down = round_activations(values[0]), *(quantize(w, encoding) for w in values[3:])
    op = experts(build, ExpertUnit(), encoding="int8", round_hidden=True)
    found = op.reference(x, *values[1:3], up, down)
    indices, weights = values[1:3]
    expected = torch.zeros(T, H)
    for choice in range(K):
        for token, expert in enumerate(indices[:, choice].tolist()):
            inside = up.dequantize().view(E, -1, H)[expert] @ x.dequantize()[token]
            hidden = functional.silu(inside[:F]) * inside[F:]
            rounded = round_activations(hidden[None]).dequantize()[0]
            result = down.dequantize().view(E, H, F)[expert] @ rounded
            expected[token] += weights[token, choice] * result
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_only_the_experts_that_are_read_cost(build: Build) -> None:
    op = experts(build, ExpertUnit())
    one, many = op.cost(1), op.cost(100)
    matrices = 4 * E * (2 * F * H + H * F)
    assert one.bytes < matrices * K / E + 1000
    assert many.bytes > matrices
    assert many.flops == 100 * one.flops == 100 * 2 * K * (2 * F * H + H * F)


def test_stored_layouts_become_rows_of_experts(build: Build) -> None:
    w = torch.randn(E, 6, 4)

    def rows(value: Tensor, **layout: bool) -> Tensor:
        op = build(lambda v: ExpertRows(v, **layout), build.weight(*value.shape))
        found: Tensor = op.reference(value)
        return found

    assert torch.equal(rows(w), w.reshape(-1, 4))
    assert torch.equal(rows(w.transpose(1, 2), transposed=True), w.reshape(-1, 4))
    alternating = w.view(E, 2, 3, 4).transpose(1, 2).reshape(E, 6, 4)
    assert torch.equal(rows(alternating, interleaved=True), w.reshape(-1, 4))
    assert torch.equal(rows(w[:, :, 0]), w[:, :, 0].flatten())


def test_encoded_experts_stay_encoded(build: Build) -> None:
    encoding = Encoding.parse("int4-g32")
    stored = quantize(torch.randn(E, 6, 64), encoding)
    op = build(lambda v: ExpertRows(v), build.weight(E, 6, 64, encoding="int4-g32"))
    found = op.reference(stored)
    assert found.encoding == encoding
    assert torch.equal(found.dequantize(), stored.dequantize().flatten(0, 1))


def test_choices_can_be_selected_by_row(build: Build) -> None:
    op = build(lambda x, batch: SelectRows(x, batch), choices(build), build.batch)
    assert op.out.type == choices(build)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"experts_per_token": 9}, "takes 9 of 8 experts"),
        ({"experts_per_token": 1, "score": "best"}, "needs score to be one of"),
        ({"experts_per_token": 1, "groups": 3}, "cannot part 8 into 3 groups"),
        ({"experts_per_token": 3, "groups": 4}, "takes 3 of 2 experts"),
    ],
)
def test_routers_that_cannot_be_are_refused(
    build: Build, attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidModuleError, match=message):
        build(lambda x: Route(x, **attributes), build.activation(8))


def test_experts_that_do_not_fit_are_refused(build: Build) -> None:
    kinds = [build.activation(H), choices(build), build.activation(K)]
    kinds += [build.weight(E * F, H), build.weight(E * H, F)]
    with pytest.raises(InvalidModuleError, match=f"needs up of {2 * E * F} rows"):
        build(lambda *v: Experts(*v, experts=E, unit=ExpertUnit()), *kinds)
