"""Lowered steps compute what the interpreter does, whatever the batch, the mesh and the form."""

import random
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import pytest

from ingot.errors import UnsupportedError
from ingot.ir import (
    ACTIVATIONS,
    Activation,
    Add,
    AddConstant,
    AddLayerNorm,
    AddRmsNorm,
    Arrange,
    Attention,
    CausalConv,
    Embedding,
    Experts,
    ExpertUnit,
    Glu,
    Interpreter,
    L2Normalize,
    LayerNorm,
    Linear,
    Module,
    Mul,
    Piece,
    RmsNorm,
    Rope,
    Route,
    Scale,
    SelectRows,
    Shift,
    Slice,
    Softcap,
    Value,
    Weight,
    build_module,
    float_tensor,
)
from ingot.passes import parse_pipeline, random_weights
from ingot.passes.testing import random_module
from ingot.targets import Build, ModelFacts, Settings, find_target
from ingot.targets.xla.lowering import CacheShape, Options, StepShape, lower_step
from tests.passes.sharding.models import FORMS, decoder

from .machine import Machine, Twin

WIDTH, VOCABULARY = 48, 13


def weight(like: Value, name: str, *shape: int) -> Value:
    return Weight(name, float_tensor(list(shape), like.context)).out


def built(make: Callable[[Value, Value, Value], Value], width: int = WIDTH) -> Module:
    """Return a step that gives what `make` makes of embedded tokens, positions and the batch."""

    def step(tokens: Value, positions: Value, batch: Value) -> Value:
        x = Embedding(tokens, weight(tokens, "table", VOCABULARY, width)).out
        return make(x, positions, batch)

    return build_module(step)


def twin(module: Module, sharded: Module | None = None, options: Options | None = None) -> Twin:
    weights = random_weights(module)
    machine = Machine(sharded or module, weights, options or Options())
    return Twin(machine, Interpreter(module, weights), VOCABULARY)


def _attend(**attributes: object) -> Callable[[Value, Value, Value], Value]:
    """Attention of 6 heads over 2: q, k and v are columns of x, which has 8 for each head."""

    def make(x: Value, positions: Value, batch: Value) -> Value:
        q, k = Slice(x, offset=0, size=48).out, Slice(x, offset=48, size=16).out
        size = int(str(attributes.get("value_dim", 8)))
        v = Slice(x, offset=64, size=2 * size).out
        vectors = {name: weight(x, name, 6) for name in ("sinks", "slopes") if attributes.get(name)}
        rest = {name: one for name, one in attributes.items() if name not in vectors}
        shape = {"layer": 0, "heads": 6, "kv_heads": 2, "head_dim": 8, "scale": 0.4}
        return Attention(q, k, v, batch, **vectors, **shape, **rest).out  # type: ignore[arg-type]

    return make


def _experts(x: Value, unit: ExpertUnit, **options: bool) -> Value:
    logits = Linear(x, weight(x, "router", 5, WIDTH)).out
    route = Route(logits, experts_per_token=2, score="sigmoid", normalize=True)
    inside = 2 if unit.gated else 1
    up, down = weight(x, "up", 5 * inside * 9, WIDTH), weight(x, "down", 5 * WIDTH, 9)
    bias = weight(x, "down_bias", 5 * WIDTH)
    return Experts(
        x, route.indices, route.weights, up, down, None, bias, experts=5, unit=unit, **options
    ).out


def _sum(values: Sequence[Value]) -> Value:
    return reduce(lambda x, y: Add(x, y).out, values)


def _norms(x: Value) -> Value:
    w, b = weight(x, "w", WIDTH), weight(x, "b", WIDTH)
    first = AddRmsNorm(x, Scale(x, factor=0.3).out, w, eps=1e-5)
    second = AddLayerNorm(first.sum, first.out, w, b, eps=1e-5)
    heads = LayerNorm(second.out, weight(x, "h", 16), weight(x, "hb", 16), eps=1e-5, heads=3).out
    return Add(second.sum, RmsNorm(heads, weight(x, "r", 12), eps=1e-6, heads=4).out).out


def _ropes(x: Value, positions: Value) -> Value:
    half = Rope(x, positions, weight(x, "f3", 3), heads=4, scale=1.1, offset=2).out
    whole = Rope(half, Shift(positions, offset=3).out, weight(x, "f6", 6), heads=4).out
    return Rope(whole, positions, weight(x, "f2", 2), heads=3, interleaved=True, offset=5).out


def _arranged(x: Value) -> Value:
    y = Scale(x, factor=2.0).out
    regular = Piece(0, 1, 12, 2, 5), Piece(1, 7, 0, 1, 3), Piece(0, 3, 8, 1, 8)
    irregular = Piece(1, 47, -6, -1, 4), Piece(0, 0, 2, 3, 5)
    return Arrange([x, y], heads=4, pieces=(*regular, *irregular)).out


CASES: dict[str, Callable[[Value, Value, Value], Value]] = {
    "activations": lambda x, p, b: _sum(
        [Activation(Scale(x, factor=4.0).out, kind=kind).out for kind in ACTIVATIONS]
    ),
    "glu": lambda x, p, b: Glu(x, Scale(x, factor=3.0).out, kind="gelu_tanh").out,
    "arithmetic": lambda x, p, b: (
        Softcap(Mul(AddConstant(x, constant=0.5).out, weight(x, "w", WIDTH)).out, cap=1.5).out
    ),
    "norms": lambda x, p, b: _norms(x),
    "unit rows": lambda x, p, b: L2Normalize(x, eps=1e-12).out,
    "rope": lambda x, p, b: _ropes(x, p),
    "arrange": lambda x, p, b: _arranged(x),
    "linear": lambda x, p, b: (
        Linear(SelectRows(x, b).out, weight(x, "w", 7, WIDTH), weight(x, "bias", 7)).out
    ),
    "experts": lambda x, p, b: _experts(x, ExpertUnit("silu", alpha=1.7, limit=0.4, up_shift=1.0)),
    "weighed experts": lambda x, p, b: _experts(
        x, ExpertUnit("relu2", gated=False), weigh_input=True, round_hidden=True
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_operation_computes_its_reference(case: str) -> None:
    module = built(CASES[case])
    assert twin(module).error((5, 1, 17), (0, 1, 2), padding=2) < 1e-5


ROUTERS: tuple[dict[str, Any], ...] = (
    {"score": "softmax", "normalize": True, "eps": 1e-6},
    {"score": "softmax_chosen", "scale": 2.5},
    {"score": "mixer", "threshold": 0.2},
    {"score": "sigmoid", "groups": 3, "groups_per_token": 2, "group_score": "top2"},
)


def test_routers_choose_as_their_references_do() -> None:
    def routed(x: Value, number: int) -> Value:
        logits = Linear(x, weight(x, f"router{number}", 12, WIDTH)).out
        route = Route(logits, weight(x, "bias", 12), experts_per_token=3, **ROUTERS[number])
        up, down = weight(x, "up", 12 * 2, WIDTH), weight(x, "down", 12 * WIDTH, 2)
        unit = ExpertUnit("tanh", gated=False)
        choices = route.indices, route.weights
        return Experts(x, *choices, up, down, experts=12, unit=unit).out

    module = built(lambda x, p, b: _sum([routed(x, n) for n in range(len(ROUTERS))]))
    assert twin(module).error((17, 3), (0, 1)) < 1e-5


SIGHTS: dict[str, dict[str, object]] = {
    "causal": {},
    "window": {"window": 5, "softcap": 2.0},
    "chunk": {"chunk": 6, "sinks": True},
    "small values": {"value_dim": 4, "slopes": True},
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_attention_looks_at_pages_as_its_reference_at_a_history(sight: str) -> None:
    pair = twin(built(_attend(**SIGHTS[sight]), width=80))
    assert pair.error((19, 1, 40), (0, 1, 2), padding=3) < 1e-5
    assert pair.error((1, 1, 1, 1), (0, 3, 1, 2), decode=True, padding=1) < 1e-5


def test_attention_to_all_of_a_sequence() -> None:
    pair = twin(built(_attend(causal=False, window=9), width=80))
    assert pair.error((19, 1, 40), (0, 1, 2), padding=3) < 1e-5


def test_one_chunk_of_a_task_is_less_than_a_prompt() -> None:
    assert twin(built(_attend(), width=80)).error((136, 3), (0, 1)) < 1e-5


@pytest.mark.parametrize("seed", [4, 15])
def test_random_modules(seed: int) -> None:
    module = random_module(random.Random(seed).choice)
    pair = Twin(
        machine=Machine(module, random_weights(module)),
        interpreter=Interpreter(module, random_weights(module)),
        vocabulary=11,
    )
    assert pair.error((9, 1, 17), (0, 1, 2), padding=1) < 1e-5


@pytest.mark.parametrize(
    ("form", "mesh"),
    [
        ("llama", "mesh=pp2xtp2,sequence=true"),
        ("mixtral", "ep2xcp2"),
        ("qwen2", "dp2xtp4"),
    ],
)
def test_a_decoder_on_a_mesh(form: str, mesh: str) -> None:
    module = decoder(FORMS[form])
    sharded = module.clone()
    options = mesh if "=" in mesh else f"mesh={mesh}"
    parse_pipeline(f"assign-sharding{{{options}}},propagate-sharding,partition").run(sharded)
    pair = twin(module, sharded)
    assert pair.error((7, 1, 20), (0, 1, 2), rows=[3, 6, 7, 27], padding=1) < 1e-5
    assert pair.error((1, 1, 1, 1), (0, 1, 2, 3), decode=True, padding=1) < 1e-5


def test_exchanges_in_bfloat16() -> None:
    module = decoder(FORMS["llama"])
    sharded = module.clone()
    divide = "assign-sharding{mesh=tp2,sequence=true},propagate-sharding,partition"
    parse_pipeline(f"{divide},narrow-exchanges").run(sharded)
    assert 1e-4 < twin(module, sharded).error((7, 20), (0, 1), padding=1) < 0.03


def convolution() -> Module:
    return built(
        lambda x, p, b: (
            CausalConv(x, weight(x, "w", WIDTH, 4), b, layer=0, index=0, kind="silu").out
        )
    )


def test_an_operation_without_a_lowering_is_refused_by_name() -> None:
    module = convolution()
    with pytest.raises(UnsupportedError, match=r"lm.causal_conv has no lowering to StableHLO"):
        lower_step(module, StepShape(4, 2, 2, 2), CacheShape(4, 16, "float32"), Options())


def test_it_is_refused_by_a_dry_run_too() -> None:
    target = find_target("null")
    lower = next(stage for stage in target.stages if stage.name == "lower")
    build = Build(convolution(), ModelFacts(9, 64), Settings(), lambda name, value: None)
    with pytest.raises(UnsupportedError, match=r"lm.causal_conv has no lowering to StableHLO"):
        lower.run(build)
