"""Meshes and shardings: numbers of devices, texts, and what a module keeps of them."""

from typing import Any

import pytest

from ingot.errors import UsageError
from ingot.ir import (
    Add,
    AllReduce,
    Combine,
    Concat,
    Context,
    Dispatch,
    Embedding,
    Experts,
    ExpertUnit,
    InvalidModuleError,
    Linear,
    LocalIds,
    Location,
    Mesh,
    Module,
    Part,
    Route,
    SendRecv,
    Shard,
    Sharding,
    Value,
    Weight,
    axes_of,
    build_module,
    clear_shardings,
    float_tensor,
    part_coordinates,
    readable,
    set_shardings,
    shardings_of,
    stages_of,
)


@pytest.mark.parametrize("text", ["dp2xtp4", "dp2,tp4", "dp=2,tp=4", " dp2 x tp=4 "])
def test_a_mesh_is_read_in_any_spelling(text: str) -> None:
    mesh = Mesh.parse(text)
    assert mesh.axes == (("dp", 2), ("tp", 4)) and str(mesh) == "dp2xtp4"
    assert mesh.devices == 8 and mesh.size("tp") == 4 and mesh.size("cp") == 1


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "cannot read the mesh ''"),
        ("tp", "cannot read the mesh 'tp'"),
        ("4", "cannot read"),
        ("tp4x", "cannot read"),
        ("dp2xdp2", "names the axis dp twice"),
        ("fp4", "'fp' is no axis of a mesh"),
        ("tp0", "gives tp 0 devices"),
        ("tp-2", "cannot read"),
    ],
)
def test_what_is_no_mesh_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Mesh.parse(text)
    assert caught.value.hint is not None and "dp2xtp4" in caught.value.hint


def test_the_last_axis_varies_fastest() -> None:
    mesh = Mesh.parse("dp2xtp3xep2")
    assert mesh.coordinates(0) == {"dp": 0, "tp": 0, "ep": 0}
    assert mesh.coordinates(7) == {"dp": 1, "tp": 0, "ep": 1}
    assert list(mesh.coordinates(7)) == ["dp", "tp", "ep"]
    assert mesh.groups("tp") == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]
    assert mesh.groups("ep")[:2] == [[0, 1], [2, 3]]
    assert mesh.groups("cp") == [[device] for device in range(12)]


def test_sequences_are_divided_along_dp_and_ep() -> None:
    mesh = Mesh.parse("dp2xtp3xep2")
    assert mesh.data_groups == 4
    assert [mesh.data_group(device) for device in range(12)] == [0, 1] * 3 + [2, 3] * 3
    assert Mesh.parse("tp4xcp2xpp2").data_groups == 1


@pytest.mark.parametrize(
    "sharding, text, short",
    [
        (Sharding.replicated(2), "[-, -]", "[-, -]"),
        (Sharding.along(2, 0, Part("tp", 4)), "[tp:4, -]", "[tp, -]"),
        (Sharding.along(2, 0, Part("tp", 2)), "[tp:2, -]", "[tp:2, -]"),
        (Sharding.along(1, 0, Part("tp", 4, 3)), "[tp:4/3]", "[tp/3]"),
        (Sharding(((), ()), ("tp", "cp")), "[-, -] sum tp,cp", "[-, -] sum tp,cp"),
        (Sharding(((Part("ep", 2), Part("tp", 4)),)), "[ep:2+tp:4]", "[ep+tp]"),
        (Sharding(()), "[]", "[]"),
    ],
)
def test_the_text_of_a_sharding_is_read_back(sharding: Sharding, text: str, short: str) -> None:
    mesh = Mesh.parse("ep2xtp4")
    assert str(sharding) == text and sharding.text(mesh) == short
    assert Sharding.parse(text) == Sharding.parse(short, mesh) == sharding


@pytest.mark.parametrize("text", ["tp", "[tp, -]", "[tp:x]", "[-] sum", "[*]"])
def test_what_is_no_sharding_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read the"):
        Sharding.parse(text)


def test_axes_of_a_sharding() -> None:
    sharding = Sharding(((Part("dp", 1),), (Part("tp", 2),)), ("cp",))
    assert sharding.axes == ("tp", "cp") and not sharding.is_replicated
    assert Sharding(((Part("dp", 1),), ())).is_replicated


def _table(module_context: Context, rows: int = 8) -> Value:
    return Weight("w", float_tensor([rows, 4], module_context)).out


def _context() -> Context:
    found = Location.current.context
    assert isinstance(found, Context)
    return found


def test_shardings_are_attributes_of_operations() -> None:
    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        x = Embedding(tokens, _table(_context())).out
        set_shardings(x.owner, [Sharding.along(2, 1, Part("tp", 2))])
        return x

    module = build_module(body)
    parsed = Module.parse(module.text())
    op = next(op for op in parsed.step.entry_block.operations if isinstance(op, Embedding))
    assert 'lm.sharding = "[-, tp:2]"' in module.text()
    assert shardings_of(op) == (Sharding.along(2, 1, Part("tp", 2)),)
    assert "-> [T, 4] as [-, tp:2]" in readable(parsed)
    clear_shardings(op)
    clear_shardings(op)
    assert shardings_of(op) is None


def _reduced(size: int) -> Module:
    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        local = LocalIds(tokens, axis="tp", size=size, rows=4).out
        part = Shard(_table(_context(), 4 * size), axis="tp", size=size).out
        return AllReduce(Embedding(local, part).out, axis="tp", size=size).out

    return build_module(body)


def test_a_module_keeps_its_mesh() -> None:
    module, mesh = _reduced(2), Mesh.parse("dp3xtp2")
    assert module.mesh is None
    module.set_mesh(mesh)
    assert module.mesh == mesh and 'lm.mesh = "dp3xtp2"' in module.text()
    assert Module.parse(module.bytecode()).mesh == mesh
    assert "-> [T, 4] on dp3xtp2 {" in readable(module)
    module.set_mesh(None)
    assert module.mesh is None and Module.create().mesh is None


def test_operations_for_another_mesh_are_refused() -> None:
    module = _reduced(4)
    module.set_mesh(Mesh.parse("dp2xtp2"))
    with pytest.raises(InvalidModuleError) as caught:
        module.verify()
    assert "lm.local_ids is for 4 devices along tp, the mesh dp2xtp2 has 2" in str(caught.value)


def _staged(*stages: int, mixed: bool = False) -> Module:
    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        table = _table(_context())
        first = x = Embedding(tokens, table).out
        for stage in stages:
            x = SendRecv(x, stage=stage).out
        return Linear(Add(x, first).out if mixed else x, table).out

    return build_module(body)


def test_an_operation_is_of_the_stage_of_its_operands() -> None:
    stages = stages_of(_staged(1, 2))
    names = [(str(op.operation.name), stage) for op, stage in stages.items()]
    assert names == [
        ("lm.embedding", 0),
        ("lm.send_recv", 1),
        ("lm.send_recv", 2),
        ("lm.linear", 2),
        ("func.return", 2),
    ]


@pytest.mark.parametrize(
    "stages, mixed, message",
    [
        ((2,), False, "lm.send_recv hands a value of stage 0 to stage 2"),
        ((1,), True, "lm.add reads values of the stages 0 and 1"),
        ((1, 2, 3), False, "lm.send_recv is of stage 3, the mesh pp3 has 3"),
    ],
)
def test_stages_that_do_not_fit_are_refused(
    stages: tuple[int, ...], mixed: bool, message: str
) -> None:
    module = _staged(*stages, mixed=mixed)
    module.set_mesh(Mesh.parse("pp3"))
    with pytest.raises(InvalidModuleError, match=message):
        module.verify()


@pytest.mark.parametrize(
    "unit, biased, fits",
    [
        (ExpertUnit("silu", up_shift=1.0), False, True),
        (ExpertUnit("silu"), True, False),
        (ExpertUnit("sigmoid"), False, True),
        (ExpertUnit("sigmoid", up_shift=1.0), False, False),
        (ExpertUnit("softplus", gated=False), False, False),
    ],
)
def test_experts_elsewhere_must_add_nothing(unit: ExpertUnit, biased: bool, fits: bool) -> None:
    along: dict[str, Any] = {"axis": "ep", "size": 2, "experts": 4}

    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        x = Embedding(tokens, _table(_context())).out
        route = Route(Linear(x, _table(_context(), 4)).out, experts_per_token=2)
        sent = Dispatch(x, route.indices, route.weights, **along)
        up = _table(_context(), 2 * 4 * (2 if unit.gated else 1))
        bias = Weight("b", float_tensor([8], _context())).out if biased else None
        found = Experts(
            sent.out,
            sent.local_indices,
            sent.local_weights,
            up,
            _table(_context()),
            down_bias=bias,
            experts=2,
            unit=unit,
            weigh_input=True,
        )
        return Combine(found.out, route.indices, **along).out

    module = build_module(body)
    module.set_mesh(Mesh.parse("ep2"))
    if fits:
        module.verify()
        return
    with pytest.raises(InvalidModuleError, match=r"lm.experts weighs its input, so that experts"):
        module.verify()


def test_axes_that_a_weight_expression_depends_on() -> None:
    found: list[Value] = []

    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        table = _table(_context(), 16)
        quarter = Shard(table, axis="tp", size=8, parts=4).out
        half = Shard(table, axis="tp", size=8, parts=2).out
        both = Concat([quarter, half]).out
        deep = Shard(quarter, axis="ep", size=2).out
        same = Shard(table, axis="tp", size=8, parts=8).out
        found.extend([table, quarter, half, both, deep, same])
        return Embedding(tokens, table).out

    module = build_module(body)
    table, quarter, half, both, deep, same = found
    assert axes_of(table) == () and axes_of(half) == ("tp",) and axes_of(deep) == ("tp", "ep")
    places = {"ep": 1, "tp": 7}
    assert part_coordinates(table, places) == {}
    assert part_coordinates(quarter, places) == {"tp": 6}
    assert part_coordinates(half, places) == {"tp": 4}
    assert part_coordinates(both, places) == {"tp": 6}
    assert part_coordinates(deep, places) == {"tp": 6, "ep": 1}
    assert part_coordinates(same, places) == {"tp": 7}
    del module
