"""What the interpreter of a mesh keeps, evaluates, shows and refuses."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from ingot.errors import UnsupportedError
from ingot.ir import (
    Activation,
    Add,
    AllGather,
    AllReduce,
    Attention,
    Batch,
    CausalConv,
    Context,
    Convert,
    Embedding,
    Interpreter,
    Linear,
    LocalIds,
    Location,
    Mesh,
    MeshInterpreter,
    Module,
    Pool,
    Quantize,
    QuantTensor,
    Round,
    SelectRows,
    Shard,
    TokenTypes,
    Value,
    Weight,
    build_module,
    evaluate_weight,
    float_tensor,
    interpreter_of,
    run_step,
)

H, F, VOCABULARY = 64, 128, 12
SHAPES = {"e": (VOCABULARY, H), "up": (F, H), "down": (H, F), "types": (2, H), "conv": (H, 3)}


def weight(name: str) -> Value:
    context = Location.current.context
    assert isinstance(context, Context)
    return Weight(name, float_tensor(SHAPES[name], context)).out


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) / 8 for name, shape in SHAPES.items()}


def with_mesh(mesh: str, body: Callable[[Value, Value, Value], Value]) -> Module:
    return build_module(body, Mesh.parse(mesh) if mesh else None)


def feed_forward(
    mesh: str, *, reduce: bool = True, encoding: str = "", rounds: bool = False
) -> Module:
    """Return x + down(silu(up(x))), in as many parts as the mesh has devices along tp."""
    size = Mesh.parse(mesh).size("tp") if mesh else 1

    def part(name: str, dim: int) -> Value:
        value = weight(name)
        if size > 1:
            value = Shard(value, axis="tp", size=size, dim=dim).out
        return Quantize(value, encoding).out if encoding else value

    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        x = Embedding(tokens, weight("e")).out
        given = Round(x).out if rounds else x
        hidden = Activation(Linear(given, part("up", 0)).out, kind="silu").out
        if rounds:
            hidden = Round(hidden).out
        y = Linear(hidden, part("down", 1)).out
        if reduce and size > 1:
            y = AllReduce(y, axis="tp", size=size).out
        return SelectRows(Add(x, y).out, batch).out

    return with_mesh(mesh, body)


def logits(module: Module, weights: Mapping[str, Any], batch: Batch, **options: Any) -> Tensor:
    count = batch.starts[-1]
    tokens = torch.arange(count) * 5 % VOCABULARY
    interpreter = interpreter_of(module, weights, torch.float64, **options)
    return interpreter.step(tokens, torch.arange(count), batch)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("encoding", ["int4-g32", "int8-g32"])
def test_groups_of_an_encoding_stay_whole(
    weights: dict[str, Tensor], encoding: str, rounds: bool
) -> None:
    expected = logits(feed_forward("", encoding=encoding, rounds=rounds), weights, Batch([0, 5, 7]))
    module = feed_forward("tp4", encoding=encoding, rounds=rounds)
    close(logits(module, weights, Batch([0, 5, 7])), expected)


def test_unencoded_weights_are_floats_on_every_device(weights: dict[str, Tensor]) -> None:
    module = feed_forward("tp2", encoding="int4-g32")
    encoded = [op.out for op in module.step.entry_block.operations if isinstance(op, Quantize)]
    assert len(encoded) == 2
    found = logits(module, weights, Batch([0, 5]), unencoded=encoded)
    close(found, logits(feed_forward("tp2"), weights, Batch([0, 5])))
    assert not torch.allclose(found, logits(module, weights, Batch([0, 5])))


def test_a_part_is_evaluated_once_for_all_devices_that_hold_it(weights: dict[str, Tensor]) -> None:
    read: list[str] = []

    class Counting(dict[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            read.append(name)
            return super().__getitem__(name)

    interpreter = interpreter_of(
        feed_forward("dp3xtp2", encoding="int8"), Counting(weights), torch.float64
    )
    tokens, batch = torch.tensor([1, 2, 3]), Batch([0, 1, 2, 3])
    for _ in range(2):
        interpreter.step(tokens, torch.arange(3), batch)
    assert read.count("up") == read.count("down") == 2


def test_a_part_of_a_stored_tensor_is_a_view() -> None:
    found: list[Value] = []

    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        found.append(Shard(weight("up"), axis="tp", size=4, dim=1).out)
        return Embedding(tokens, Convert(found[0], "bf16").out).out

    module = with_mesh("tp4", body)
    table = torch.arange(F * H, dtype=torch.float32).reshape(F, H)
    part = evaluate_weight(found[0], {"up": table}, coordinates={"tp": 2})
    assert isinstance(part, Tensor) and torch.equal(part, table[:, 32:48])
    assert part.untyped_storage().data_ptr() == table.untyped_storage().data_ptr()
    with pytest.raises(AssertionError, match="place along tp is not given"):
        evaluate_weight(found[0], {"up": table})
    del module


def test_a_missing_sum_is_found(weights: dict[str, Tensor]) -> None:
    with pytest.raises(AssertionError, match=r"the devices 0 and 1 should agree on lm.select_rows"):
        logits(feed_forward("tp2", reduce=False), weights, Batch([0, 5]))


def test_a_result_that_devices_should_share_is_compared(
    weights: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: AllReduce, inputs: list[list[Tensor]], coordinates: Any) -> list[Tensor]:
        return [inputs[0][0], *[inputs[0][0] * 1.01] * (len(inputs) - 1)]

    module = feed_forward("dp2xtp2")
    monkeypatch.setattr(AllReduce, "across", broken)
    with pytest.raises(AssertionError, match=r"devices 0 and 1 should agree on lm.all_reduce at"):
        logits(module, weights, Batch([0, 5]))


def test_operations_between_devices_need_a_mesh(weights: dict[str, Tensor]) -> None:
    module = feed_forward("tp2")
    module.set_mesh(None)
    with pytest.raises(UnsupportedError, match="a part of a weight depends on a device's place"):
        logits(module, weights, Batch([0, 5]))

    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        return AllReduce(Embedding(tokens, weight("e")).out, axis="tp", size=2).out

    with pytest.raises(UnsupportedError, match=r"lm.all_reduce depends on a device's place"):
        logits(build_module(body), weights, Batch([0, 5]))


def test_what_runs_a_module_is_chosen_by_its_mesh(weights: dict[str, Tensor]) -> None:
    assert isinstance(interpreter_of(feed_forward(""), weights), Interpreter)
    assert isinstance(interpreter_of(feed_forward("tp1"), weights), MeshInterpreter)
    tokens = torch.tensor([3])
    one, two = (
        run_step(feed_forward(mesh), weights, tokens, torch.tensor([0]), Batch.single(1))
        for mesh in ("", "tp2")
    )
    torch.testing.assert_close(one, two)


def test_sequences_go_to_the_groups_that_the_batch_names(weights: dict[str, Tensor]) -> None:
    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        x = Embedding(tokens, weight("e")).out
        x = CausalConv(x, weight("conv"), batch, layer=0, kind="silu").out
        heads: dict[str, Any] = {
            "layer": 0,
            "heads": 2,
            "kv_heads": 2,
            "head_dim": 32,
            "scale": 0.5,
        }
        return Attention(x, x, x, batch, **heads).out

    one, two, three = Batch([0, 4, 5, 7]), Batch([0, 4, 5, 7]), Batch([0, 4, 5, 7])
    two.groups, three.groups = [1, 1, 0], [1, 1, 1]
    for starts in ([0, 4, 5, 7], [0, 1, 3, 4]):
        for batch in (one, two, three):
            batch.starts = starts
        expected = logits(with_mesh("", body), weights, one)
        close(logits(with_mesh("dp2", body), weights, two), expected)
        close(logits(with_mesh("dp2", body), weights, three), expected)
    assert [set(cache) for cache in two.caches] == [{(0, 1)}, {(0, 1)}, {(0, 0)}]
    assert [set(state) for state in two.states] == [{(0, "conv0@1")}] * 2 + [{(0, "conv0@0")}]
    assert [len(cache[0, 1][0]) for cache in two.caches[:2]] == [5, 3]


def test_texts_are_pooled_in_their_groups(weights: dict[str, Tensor]) -> None:
    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        types = Embedding(TokenTypes(batch).out, weight("types")).out
        return Pool(Add(Embedding(tokens, weight("e")).out, types).out, batch, kind="mean").out

    starts, types = [0, 4, 5, 7], [0, 0, 1, 1, 0, 1, 0]
    expected = logits(with_mesh("", body), weights, Batch(starts, token_types=types))
    for mesh in ("dp2", "dp4", "ep3"):
        found = logits(with_mesh(mesh, body), weights, Batch(starts, token_types=types))
        close(found, expected)


def test_whole_values_are_watched_in_the_order_of_the_batch(weights: dict[str, Tensor]) -> None:
    def recorded(module: Module) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        watch = lambda op, results: seen.setdefault(op.operation.name, results[0])  # noqa: E731
        logits(module, weights, Batch([0, 2, 5, 6], [5, 1]), watch=watch)
        return seen

    one = recorded(feed_forward("", rounds=True))
    two = recorded(feed_forward("dp2xtp2", rounds=True))
    for name in ("lm.embedding", "lm.add", "lm.select_rows"):
        close(two[name], one[name])
    assert isinstance(two["lm.round"], QuantTensor)
    close(two["lm.round"].dequantize(), one["lm.round"].dequantize())
    # Each device has features of its own: no whole value is there to be seen.
    assert two["lm.activation"] is None and two["lm.all_reduce"] is not None


def test_an_embedding_and_a_head_in_parts(weights: dict[str, Tensor]) -> None:
    def body(size: int) -> Callable[[Value, Value, Value], Value]:
        def write(tokens: Value, positions: Value, batch: Value) -> Value:
            along: dict[str, Any] = {"axis": "tp", "size": size}
            table = Shard(weight("e"), **along).out if size > 1 else weight("e")
            rows = VOCABULARY // size
            ids = LocalIds(tokens, **along, rows=rows).out if size > 1 else tokens
            x = Embedding(ids, table).out
            x = AllReduce(x, **along).out if size > 1 else x
            y = Linear(x, table).out
            return AllGather(y, **along, dim=1).out if size > 1 else y

        return write

    expected = logits(with_mesh("", body(1)), weights, Batch([0, 9]))
    for size in (2, 3, 4):
        close(logits(with_mesh(f"tp{size}", body(size)), weights, Batch([0, 9])), expected)
