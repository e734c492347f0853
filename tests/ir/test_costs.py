"""Costs count floating-point operations and bytes as one would by hand."""

from typing import Any

import pytest

from ingot.ir import Attention, Cost, Embedding, Linear, RmsNorm, Slice, Weight

Build = Any


@pytest.mark.parametrize(
    "encoding, weight_bytes",
    [("", 4 * 96 * 64), ("int4-g32", 96 * 64 * 4.75 / 8), ("int8", 96 * 64)],
)
def test_linear(build: Build, encoding: str, weight_bytes: float) -> None:
    op = build(Linear, build.activation(64), build.weight(96, 64, encoding=encoding))
    assert op.cost(10) == Cost(2 * 10 * 96 * 64, weight_bytes + 10 * 4 * (64 + 96))


def test_embedding_reads_only_its_rows(build: Build) -> None:
    op = build(Embedding, build.indices, build.weight(1000, 64, encoding="int8"))
    assert op.cost(3).bytes == 3 * 64 + 3 * 4 + 3 * 64 * 4


def test_attention_grows_with_the_context(build: Build) -> None:
    def make(window: int) -> Any:
        row, narrow = build.activation(60), build.activation(20)
        return build(
            lambda *v: Attention(
                *v, layer=0, heads=6, kv_heads=2, head_dim=10, scale=1.0, window=window
            ),
            row,
            narrow,
            narrow,
            build.batch,
        )

    assert make(0).cost(1, context=99).flops == 4 * 100 * 60
    assert make(0).cost(3).flops == 4 * (1 + 2 + 3) * 60
    assert make(16).cost(1, context=99).flops == 4 * 16 * 60
    read = make(0).cost(1, context=99).bytes - make(0).cost(1, context=98).bytes
    assert read == 4 * 2 * 20


def test_rounded_results_are_smaller(build: Build) -> None:
    plain = build(lambda *v: RmsNorm(*v, eps=1e-5), build.activation(64), build.weight(64))
    rounded = build(
        lambda *v: RmsNorm(*v, eps=1e-5, rounded=True), build.activation(64), build.weight(64)
    )
    assert plain.cost(8).bytes - rounded.cost(8).bytes == 8 * 64 * 4 - 8 * (64 + 2 * 4)


def test_moving_and_naming_are_no_arithmetic(build: Build) -> None:
    op = build(lambda v: Slice(v, offset=0, size=8), build.activation(64))
    assert op.cost(5) == Cost(0, 2 * 5 * 8 * 4)
    op = build(lambda: Weight("w", build.weight(4, 4)))
    assert op.cost(5) == Cost()
    assert Cost(1, 2) + Cost(3, 4) == Cost(4, 6)
