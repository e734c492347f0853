"""Every operation between devices, alone, against the plain computation on whole values."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from ingot.ir import (
    AllGather,
    AllReduce,
    Attention,
    Batch,
    Combine,
    Cost,
    Dispatch,
    Embedding,
    Experts,
    ExpertUnit,
    LocalIds,
    MergeAttention,
    Op,
    PartialAttention,
    QuantTensor,
    ReduceScatter,
    SendRecv,
    Shard,
    quantize,
    round_activations,
)

Build = Any
SIZES = [1, 2, 3, 4, 8]
GENERATOR = torch.Generator()


@pytest.fixture(autouse=True)
def seed() -> None:
    GENERATOR.manual_seed(5)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def across(op: Op, inputs: list[list[Any]], axis: str = "tp") -> list[Any]:
    return op.across(inputs, [{axis: place} for place in range(len(inputs))])


def equal(found: Any, expected: Any) -> None:
    if isinstance(expected, QuantTensor):
        assert found.encoding == expected.encoding and found.shape == expected.shape
        assert torch.equal(found.dequantize(), expected.dequantize())
    else:
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_all_reduce(build: Build, size: int) -> None:
    op = build(lambda v: AllReduce(v, axis="tp", size=size), build.activation(6))
    values = [random(5, 6) for _ in range(size)]
    for one in across(op, [[value] for value in values]):
        equal(one, torch.stack(values).sum(0))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dim", [0, 1])
def test_a_gather_undoes_a_cut(build: Build, size: int, dim: int) -> None:
    cut = build(lambda v: Shard(v, axis="tp", size=size, dim=dim), build.activation(24))
    gather = build(
        lambda v: AllGather(v, axis="tp", size=size, dim=dim),
        build.activation(24 if dim == 0 else 24 // size),
    )
    # Seven rows divide among none of these numbers of devices evenly.
    whole = random(7, 24)
    parts = across(cut, [[whole]] * size)
    assert sum(len(part) for part in parts) == 7 * (1 if dim == 0 else size)
    assert parts[0].shape[dim] - parts[-1].shape[dim] in (0, 1 - dim)
    for one in across(gather, [[part] for part in parts]):
        equal(one, whole)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dim", [0, 1])
def test_reduce_scatter(build: Build, size: int, dim: int) -> None:
    op = build(lambda v: ReduceScatter(v, axis="tp", size=size, dim=dim), build.activation(24))
    values = [random(7, 24) for _ in range(size)]
    found = across(op, [[value] for value in values])
    equal(torch.cat(found, dim), torch.stack(values).sum(0))
    assert found[0].shape[dim] == -(-(7, 24)[dim] // size)


def test_what_is_sent_in_bfloat16_is_rounded_to_it(build: Build) -> None:
    values = [random(7, 24) for _ in range(3)]
    terms = [value.to(torch.bfloat16).to(value.dtype) for value in values]
    total = torch.stack(terms).sum(0).to(torch.bfloat16).to(values[0].dtype)
    narrow = {"axis": "tp", "size": 3, "dtype": "bfloat16"}
    x = build.activation(24)
    for one in across(build(lambda v: AllReduce(v, **narrow), x), [[v] for v in values]):
        equal(one, total)
    scattered = across(build(lambda v: ReduceScatter(v, **narrow), x), [[v] for v in values])
    equal(torch.cat(scattered), total)
    for one in across(build(lambda v: AllGather(v, **narrow), x), [[v] for v in values]):
        equal(one, torch.cat(terms))


@pytest.mark.parametrize("dim", [0, 1])
def test_rounded_activations_are_cut_and_gathered_as_they_are(build: Build, dim: int) -> None:
    kind = build.activation(128, rounded=True)
    cut = build(lambda v: Shard(v, axis="tp", size=2, dim=dim), kind)
    part = build.activation(128 if dim == 0 else 64, rounded=True)
    assert cut.out.type == part
    gather = build(lambda v: AllGather(v, axis="tp", size=2, dim=dim), part)
    whole = round_activations(random(5, 128).float())
    for one in across(gather, [[one] for one in across(cut, [[whole]] * 2)]):
        equal(one, whole)


@pytest.mark.parametrize("encoding", ["int4-g32", "int4-g32-sym", "int4-g32-min", "int8"])
@pytest.mark.parametrize("dim, blocks", [(0, 1), (0, 3), (1, 1), (1, 2)])
def test_parts_of_encoded_weights_are_those_of_their_values(
    build: Build, encoding: str, dim: int, blocks: int
) -> None:
    def make(value: Any) -> Shard:
        return Shard(value, axis="tp", size=4, parts=2, dim=dim, blocks=blocks)

    whole = quantize(random(12, 128).float(), build.weight(12, 128, encoding=encoding).encoding)
    op = build(make, build.weight(12, 128, encoding=encoding))
    found = across(op, [[whole]] * 4)
    plain = across(op, [[whole.dequantize()]] * 4)
    for one, values in zip(found, plain, strict=True):
        equal(one.dequantize(), values)
    assert op.out.type == build.weight(12 // (2 - dim), 128 // (1 + dim), encoding=encoding)
    # Two parts on four devices: each on two neighbours.
    equal(found[0], found[1])
    assert not torch.equal(plain[1], plain[2])


def test_a_part_is_one_of_every_block(build: Build) -> None:
    op = build(lambda v: Shard(v, axis="tp", size=2, dim=0, blocks=2), build.weight(8, 3))
    first, second = across(op, [[torch.arange(8).unsqueeze(1).expand(8, 3)]] * 2)
    assert first[:, 0].tolist() == [0, 1, 4, 5] and second[:, 0].tolist() == [2, 3, 6, 7]


def test_an_embedding_in_parts(build: Build) -> None:
    size, rows = 4, 6
    table, tokens = random(size * rows, 5), torch.tensor([0, 23, 6, 11, 12], dtype=torch.int32)
    ids = build(lambda v: LocalIds(v, axis="tp", size=size, rows=rows), build.indices)
    embedding = build(Embedding, build.indices, build.weight(rows, 5))
    local = across(ids, [[tokens]] * size)
    assert local[1].tolist() == [-1, -1, 0, 5, -1]
    parts = [embedding.reference(i, t) for i, t in zip(local, table.chunk(size), strict=True)]
    equal(sum(parts), table[tokens.long()])
    assert not parts[0][1].any()


def test_token_minus_one_is_zeros_in_an_encoded_table(build: Build) -> None:
    kind = build.weight(8, 32, encoding="int8")
    table = quantize(random(8, 32).float(), kind.encoding)
    found = build(Embedding, build.indices, kind).reference(torch.tensor([-1, 3]), table)
    assert not found[0].any() and torch.equal(found[1], table.dequantize()[3])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("rounded", [False, True])
def test_experts_elsewhere_give_what_experts_here_do(
    build: Build, size: int, rounded: bool
) -> None:
    experts, k, columns, hidden = 12, 3, 32, 4
    shapes = (experts * 2 * hidden, columns), (experts * columns, hidden)
    biases = (experts * 2 * hidden,), (experts * columns,)
    counts = [4, 1, 7, 2, 3, 5][:size]
    choices = build.choices(k)
    kinds = build.activation(columns, rounded), choices, build.activation(k)
    everything = [random(*shape) for shape in (*shapes, *biases)]
    x = [random(count, columns) for count in counts]
    sent: list[Any] = [round_activations(one) if rounded else one for one in x]
    indices = [_choices(count, experts, k) for count in counts]
    weights = [random(count, k).abs() for count in counts]

    def make(count: int) -> Op:
        def experts_of(*values: Any) -> Op:
            return Experts(*values, experts=count, unit=ExpertUnit("silu", limit=3.0))

        sizes = [(shape[0] * count // experts, *shape[1:]) for shape in (*shapes, *biases)]
        found = build(experts_of, *kinds, *(build.weight(*one) for one in sizes))
        assert isinstance(found, Op)
        return found

    along: dict[str, Any] = {"axis": "ep", "size": size, "experts": experts}
    dispatch = build(lambda *v: Dispatch(*v, **along), *kinds)
    combine = build(lambda *v: Combine(*v, **along), build.activation(columns), choices)
    own = make(experts // size)
    received = across(dispatch, [list(one) for one in zip(sent, indices, weights, strict=True)])
    parts = [matrix.chunk(size) for matrix in everything]
    results = [
        [own.reference(*received[d], *(part[d] for part in parts)), indices[d]] for d in range(size)
    ]
    assert {len(one[0]) for one in results} == {sum(counts)}
    whole = make(experts)
    for source, found in enumerate(across(combine, results)):
        expected = whole.reference(sent[source], indices[source], weights[source], *everything)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def _choices(tokens: int, experts: int, k: int) -> Tensor:
    order = torch.rand(tokens, experts, generator=GENERATOR).argsort(-1)
    return order[:, :k].to(torch.int32)


def test_rows_without_an_expert_here_are_empty(build: Build) -> None:
    kinds = build.activation(2), build.choices(2), build.activation(2)
    op = build(lambda *v: Dispatch(*v, axis="ep", size=2, experts=4), *kinds)
    x, weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.5, 0.25], [1.0, 2.0]])
    indices = torch.tensor([[3, 2], [1, 3]], dtype=torch.int32)
    nothing = x[:0], indices[:0], weights[:0]
    (x0, i0, w0), (x1, i1, w1) = across(op, [[x, indices, weights], list(nothing)])
    assert x0.tolist() == [[0, 0], [3, 4]] and x1.tolist() == x.tolist()
    assert i0.tolist() == [[0, 0], [1, 0]] and w0.tolist() == [[0, 0], [1, 0]]
    assert i1.tolist() == [[1, 0], [0, 1]] and w1.tolist() == [[0.5, 0.25], [0, 2]]


FORMS: list[Mapping[str, Any]] = [
    {},
    {"window": 6},
    {"chunk": 5},
    {"causal": False},
    {"softcap": 2.0, "sinks": True, "slopes": True},
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", FORMS)
def test_attention_over_parts_of_the_cache(
    build: Build, size: int, form: Mapping[str, Any]
) -> None:
    heads, kv_heads, dim = 4, 2, 6
    vectors = [name for name in ("sinks", "slopes") if name in form]
    plain = {name: value for name, value in form.items() if name not in vectors}
    shape: dict[str, Any] = {
        "layer": 1,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": dim,
        "scale": 0.4,
    }
    narrow = build.activation(kv_heads * dim)
    kinds = build.activation(heads * dim), narrow, narrow, build.batch
    kinds = (*kinds, *(build.weight(heads) for _ in vectors))
    whole = build(lambda *v: Attention(*v, **shape, **plain), *kinds)
    along: dict[str, Any] = {"axis": "cp", "size": size}
    part = build(lambda *v: PartialAttention(*v, **along, page_tokens=2, **shape, **plain), *kinds)
    row = build.activation(heads * dim), build.activation(heads)
    merge = build(lambda *v: MergeAttention(*v, **along, heads=heads), *row)
    beside = [random(heads) for _ in vectors]
    one, many = Batch([0]), [Batch([0]) for _ in range(size)]
    steps = [[0, 1, 10]] if form.get("causal") is False else [[0, 1, 10], [0, 5, 6], [0, 1, 4, 13]]
    for starts in steps:
        tokens = starts[-1]
        q, k, v = random(tokens, heads * dim), *(random(tokens, kv_heads * dim) for _ in "kv")
        one = Batch(starts, caches=one.caches)
        many = [Batch(starts, caches=each.caches) for each in many]
        expected = whole.reference(q, k, v, one, *beside)
        parts = across(part, [[q, k, v, each, *beside] for each in many], "cp")
        for found in across(merge, [list(one) for one in parts], "cp"):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_a_device_keeps_its_pages_alone(build: Build) -> None:
    row, batch = build.activation(4), Batch.single(70)
    shape: dict[str, Any] = {"layer": 0, "heads": 1, "kv_heads": 1, "head_dim": 4, "scale": 1.0}
    op = build(
        lambda *v: PartialAttention(*v, **shape, axis="cp", size=2), row, row, row, build.batch
    )
    y, lse = op.across([[random(70, 4)] * 3 + [batch]] * 1, [{"cp": 1}])[0]
    kept = ~batch.caches[0][0][0].isnan().any(-1).any(-1)
    assert torch.where(kept)[0].tolist() == [*range(16, 32), *range(48, 64)]
    # The first sixteen tokens see nothing that is here.
    assert torch.isneginf(lse[:16]).all() and not y[:16].any() and torch.isfinite(lse[16:]).all()


def test_send_recv_hands_over_what_it_gets(build: Build) -> None:
    op = build(lambda v: SendRecv(v, stage=1), build.activation(3))
    x = random(2, 3)
    assert across(op, [[x]])[0] is x


def test_costs_count_what_links_carry(build: Build) -> None:
    x, bytes_of_x = build.activation(8), 10 * 8 * 4
    reduce = build(lambda v: AllReduce(v, axis="tp", size=4), x)
    assert reduce.cost(10) == Cost(0.75 * 80, 2 * bytes_of_x, 1.5 * bytes_of_x)
    gather = build(lambda v: AllGather(v, axis="tp", size=4, dim=1), x)
    assert gather.cost(10).link_bytes == 0.75 * 4 * bytes_of_x
    scatter = build(lambda v: ReduceScatter(v, axis="tp", size=4), x)
    assert scatter.cost(10) == Cost(0.75 * 80, 1.25 * bytes_of_x, 0.75 * bytes_of_x)
    narrow = build(lambda v: AllReduce(v, axis="tp", size=4, dtype="bfloat16"), x)
    assert narrow.cost(10).link_bytes == 0.75 * bytes_of_x
    choices, weights = build.choices(2), build.activation(2)
    dispatch = build(lambda *v: Dispatch(*v, axis="ep", size=2, experts=4), x, choices, weights)
    assert dispatch.cost(10).link_bytes == bytes_of_x + 10 * 2 * 4 * 2
    combine = build(lambda *v: Combine(*v, axis="ep", size=2, experts=4), x, choices)
    assert combine.cost(10).link_bytes == bytes_of_x
    send = build(lambda v: SendRecv(v, stage=2), x)
    assert send.cost(10) == Cost(0, 2 * bytes_of_x, bytes_of_x)
    weight = build(lambda v: Shard(v, axis="tp", size=2), build.weight(8, 8))
    assert weight.cost(10) == Cost()
    assert Cost(1, 2, 3) + Cost(4, 5, 6) == Cost(5, 7, 9)
