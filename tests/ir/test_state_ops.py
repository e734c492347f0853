"""The operations that carry a state: what they refuse, what they cost, what they carry."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from ingot.ir import (
    Batch,
    CausalConv,
    DeltaRule,
    Embedding,
    InvalidModuleError,
    Linear,
    MLIRError,
    Module,
    NegExp,
    Op,
    SelectiveScan,
    SsmScan,
    Weight,
    build_module,
    float_tensor,
    run_step,
)

Build = Any
REFUSED = (InvalidModuleError, MLIRError)
T = 6


def conv(build: Build, channels: int = 8, width: int = 3, **changes: Any) -> Op:
    make = partial(CausalConv, **({"layer": 0} | changes))
    found: Op = build(make, build.activation(8), build.weight(channels, 1, width), build.batch)
    return found


def ssm(build: Build, dt: int = 4, **changes: Any) -> Op:
    make = partial(SsmScan, **({"layer": 0, "heads": 4, "groups": 2} | changes))
    x, steps, b = build.activation(12), build.activation(dt), build.activation(10)
    found: Op = build(make, x, steps, build.weight(4), b, b, build.batch, build.weight(4))
    return found


def selective(build: Build, states: int = 5) -> Op:
    x, b = build.activation(6), build.activation(states)
    make = partial(SelectiveScan, layer=0)
    found: Op = build(make, x, x, build.weight(6, 5), b, b, build.batch)
    return found


def delta(build: Build, g: int = 4, **changes: Any) -> Op:
    given = {"layer": 0, "heads": 4, "key_heads": 2, "scale": 0.5, "normalize": True} | changes
    q, v = build.activation(6), build.activation(20)
    gates = build.activation(g), build.activation(4)
    found: Op = build(partial(DeltaRule, **given), q, q, v, *gates, build.batch)
    return found


@pytest.mark.parametrize(
    "make, message",
    [
        (partial(conv, channels=7), "needs w of shape <8x_> or <8x1x_>"),
        (partial(conv, kind="swish"), "needs kind to be one of none, silu"),
        (partial(conv, index=-1), "needs index of 0 or more"),
        (partial(ssm, dt=3), "needs dt to be tensor<?x4xf32>"),
        (partial(ssm, groups=3), "needs heads that groups divide, found 4 and 3"),
        (partial(selective, states=4), "needs b to be tensor<?x5xf32>"),
        (partial(delta, g=5), "needs g of 4 or 12 features, found 5"),
        (partial(delta, key_heads=3), "needs heads that key_heads divide"),
        (partial(delta, scale=0.0), "needs scale above 0"),
    ],
)
def test_what_does_not_fit_is_refused(
    build: Build, make: Callable[[Build], Op], message: str
) -> None:
    with pytest.raises(REFUSED) as refusal:
        make(build)
    assert message in str(refusal.value)


def test_states_have_names_and_shapes(build: Build) -> None:
    assert conv(build, index=1).states() == {"conv1": (2, 8)}
    assert ssm(build).states() == {"ssm": (4, 3, 5)}
    assert selective(build).states() == {"selective": (6, 5)}
    assert delta(build).states() == {"delta": (4, 3, 5)}
    assert delta(build, g=12).states() == {"delta": (4, 3, 5)}


def test_states_are_read_and_written_once(build: Build) -> None:
    for op, state in ((ssm(build), 60), (selective(build), 30), (delta(build), 60)):
        first, second = op.cost(1), op.cost(2)
        rows = second.bytes - first.bytes
        assert rows > 0 and second.flops == 2 * first.flops
        weights = 4 * sum(
            int(torch.tensor(list(v.type.shape)).prod())
            for v in op.operands
            if "tensor" in str(v.type) and "?" not in str(v.type)
        )
        assert first.bytes == rows + weights + 2 * 4 * state


def test_neg_exp_is_a_weight_expression(build: Build) -> None:
    w = torch.randn(5).bfloat16()
    op = build(NegExp, build.weight(5))
    torch.testing.assert_close(op.reference(w), -w.double().exp())


def model() -> Module:
    def body(tokens: Any, positions: Any, batch: Any) -> Any:
        context = tokens.context

        def weight(name: str, *shape: int) -> Any:
            return Weight(name, float_tensor(shape, context)).out

        x = Embedding(tokens, weight("table", 11, 8)).out
        mixed = CausalConv(x, weight("w", 8, 3), batch, layer=0, kind="silu").out
        return Linear(mixed, weight("head", 11, 8)).out

    return build_module(body)


def test_a_module_goes_on_from_its_states() -> None:
    torch.manual_seed(0)
    weights = {"table": torch.randn(11, 8), "w": torch.randn(8, 3), "head": torch.randn(11, 8)}
    tokens, positions = torch.randint(11, (T,)), torch.arange(T)
    module = model()
    whole = run_step(module, weights, tokens, positions, Batch.single(T))
    states: list[dict[tuple[int, str], torch.Tensor]] = [{}]
    parts = [
        run_step(
            module,
            weights,
            tokens[start:end],
            positions[start:end],
            Batch([0, end - start], states=states),
        )
        for start, end in ((0, 1), (1, 4), (4, T))
    ]
    torch.testing.assert_close(torch.cat(parts), whole)
    assert list(states[0]) == [(0, "conv0")]
