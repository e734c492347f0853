"""Finding operations and their readers, and taking operations apart."""

from collections.abc import Iterator
from typing import Unpack

import pytest
import torch

from ingot.errors import UnsupportedError
from ingot.ir import (
    LM,
    Add,
    Cost,
    Datum,
    Embedding,
    Linear,
    Module,
    Op,
    OpResult,
    Place,
    Scale,
    Value,
    Weight,
    after,
    build_module,
    float_tensor,
    require_activation,
    rounded_as,
    tensor_of,
    with_weights,
)
from ingot.passes import (
    decompose_composites,
    decompose_unknown,
    find_ops,
    only_user,
    parse_pipeline,
    random_sample,
    random_weights,
    read_instead,
    users,
)


class Clipped(Op, name="test_clipped"):
    """`clamp(x * w, -limit, limit)`: nothing but a reference."""

    can_round = True

    x: Value
    w: Value
    limit: float
    out: OpResult

    def __init__(self, x: Value, w: Value, *, limit: float, **place: Unpack[Place]) -> None:
        self.build([x, w], [x.type], {"limit": limit}, **place)

    def check(self) -> None:
        require_activation("x", self.x)

    def reference(self, *inputs: Datum) -> Datum:
        x, w = with_weights(inputs)
        return rounded_as((x * w).clamp(-self.limit, self.limit), self.out)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost()


class Tripled(Op, name="test_tripled"):
    """`3 x`, by a decomposition."""

    x: Value
    out: OpResult

    def __init__(self, x: Value, **place: Unpack[Place]) -> None:
        self.build([x], [x.type], {}, **place)

    def decompose(self) -> Value:
        return Add(Scale(self.x, factor=2.0).out, self.x).out

    def reference(self, *inputs: Datum) -> torch.Tensor:
        return 3 * tensor_of(inputs[0])


@pytest.fixture(scope="module", autouse=True)
def only_here() -> Iterator[None]:
    """Take the operations of this file out of the dialect again."""
    yield
    for kind in (Clipped, Tripled):
        LM.operations.remove(kind)


def weight(name: str, shape: list[int], near: Value) -> Value:
    return Weight(name, float_tensor(shape, near.context)).out


def step(tokens: Value, positions: Value, batch: Value) -> Value:
    x = Embedding(tokens, weight("e", [9, 64], tokens)).out
    vector = weight("w", [64], tokens)
    x = Clipped(Tripled(x).out, vector, limit=0.5).out
    return Linear(Clipped(x, vector, limit=0.4).out, weight("h", [9, 64], tokens)).out


def is_ours(op: Op) -> bool:
    return not isinstance(op, Clipped | Tripled)


def logits(module: Module, seed: int = 0) -> torch.Tensor:
    return random_sample(9, seed=seed).logits(module, random_weights(module))


def test_what_no_target_knows_is_taken_apart() -> None:
    module = build_module(step)
    expected = logits(module)
    assert decompose_unknown(module, is_ours)
    text = str(module.verified())
    assert "test_clipped" not in text and "lm.add" in text and "@remainder_1" in text
    assert torch.allclose(logits(module), expected, rtol=1e-12, atol=1e-12)
    assert not decompose_unknown(module, is_ours)


def test_composites_are_taken_apart_where_torch_cannot_be_compiled() -> None:
    module = build_module(step)
    expected = logits(module)
    assert decompose_composites(module, is_ours)
    text = str(module.verified())
    assert "test_tripled" not in text and "test_clipped" in text and "@remainder" not in text
    assert torch.allclose(logits(module), expected, rtol=1e-12, atol=1e-12)
    assert not decompose_composites(module, is_ours)


def test_a_rounded_result_is_rounded_apart() -> None:
    module = build_module(step)
    parse_pipeline("quantize{embedding=int8},round-activations,fuse-rounding").run(module)
    assert "lm.round" not in str(module)
    expected = logits(module)
    decompose_unknown(module, is_ours)
    assert str(module.verified()).count('"lm.round"') == 1
    assert torch.allclose(logits(module), expected, rtol=1e-6, atol=1e-6)


def test_the_pass_takes_composites_and_what_it_is_told() -> None:
    module = build_module(step)
    parse_pipeline("decompose").run(module)
    assert "test_tripled" not in str(module) and "test_clipped" in str(module)
    parse_pipeline("decompose{torch=test_clipped}").run(module)
    assert "test_clipped" not in str(module.verified())


def test_what_needs_the_batch_is_refused_by_name() -> None:
    module = build_module(step)
    parse_pipeline("select-rows").run(module)
    with pytest.raises(UnsupportedError, match=r"lm\.select_rows cannot be compiled by its"):
        decompose_unknown(module, lambda op: op.OPERATION_NAME != "lm.select_rows")


def test_readers_are_found_and_rewired() -> None:
    module = build_module(step)
    (table,) = find_ops(module, Embedding)
    first, second = find_ops(module, Clipped)
    (tripled,) = users(table.out)
    assert isinstance(tripled, Tripled) and only_user(table.out, Tripled) == tripled
    assert only_user(table.out, Linear) is None and only_user(first.w, Clipped) is None
    assert [op.operation for op in users(first.w)] == [first.operation, second.operation]
    with after(first):
        scaled = Scale(first.out, factor=0.5).out
    read_instead(second, first.out, scaled)
    assert module.verified() and users(first.out) == [scaled.owner]
