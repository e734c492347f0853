"""Arrangements and expressions on weights: what they mean, what they cost, what is refused."""

from typing import Any

import pytest
import torch

from ingot.ir import (
    AddConstant,
    Arrange,
    ArrangeRows,
    BF16Type,
    Encoding,
    Fill,
    InvalidModuleError,
    LayerNorm,
    Module,
    Piece,
    QuantTensor,
    Reshape,
    Rope,
    is_weight_expression,
    quantize,
    tensor_type,
)

Build = Any
T = 7
PIECES = (Piece(0, 1, 6, 2, 3), Piece(1, 0, 0, 1, 2))


def test_arrange_takes_pieces_of_every_head(build: Build) -> None:
    x, y = torch.randn(T, 12), torch.randn(T, 2)
    op = build(
        lambda a, b: Arrange([a, b], heads=2, pieces=PIECES),
        build.activation(12),
        build.activation(2),
    )
    first, second = x[:, [1, 3, 5]], x[:, [7, 9, 11]]
    expected = torch.cat([first, y, second, y], 1)
    assert torch.equal(op.reference(x, y), expected)
    assert [str(part.type) for part in op.parts] == ["tensor<?x12xf32>", "tensor<?x2xf32>"]
    assert op.cost(3).bytes == 2 * 4 * 3 * 10
    assert op.row_wise


@pytest.mark.parametrize("encoding", ["", "int4-g32"])
def test_arrange_rows_takes_rows_of_a_weight(build: Build, encoding: str) -> None:
    w = torch.randn(12, 64)
    stored = quantize(w, Encoding.parse(encoding)) if encoding else w
    op = build(
        lambda a: ArrangeRows(a, heads=2, pieces=PIECES[:1]),
        build.weight(12, 64, encoding=encoding),
    )
    found = op.reference(stored)
    plain = stored.dequantize() if isinstance(stored, QuantTensor) else stored
    rows = found.dequantize() if isinstance(found, QuantTensor) else found
    assert torch.equal(rows, plain[[1, 3, 5, 7, 9, 11]])
    assert is_weight_expression(op.out) == is_weight_expression(op.w)
    assert op.cost(1).bytes == pytest.approx(2 * 6 * 64 * (4.75 if encoding else 32) / 8)


def test_add_constant_widens_stored_weights(build: Build) -> None:
    w = torch.randn(5).bfloat16()
    op = build(
        lambda a: AddConstant(a, constant=1.0), tensor_type([5], BF16Type.get(build.context))
    )
    assert torch.equal(op.reference(w), w.float() + 1)
    assert str(op.out.type) == "tensor<5xf32>"
    x = torch.randn(T, 5, dtype=torch.float64)
    assert op.reference(x).dtype == torch.float64


def test_fill_and_reshape(build: Build) -> None:
    op = build(lambda a: Reshape(a, [6]), build.weight(2, 3))
    w = torch.randn(2, 3)
    assert torch.equal(op.reference(w), w.flatten())
    ones = build(lambda a: Fill(a.context, value=0.5, size=3), build.weight(1))
    assert torch.equal(ones.reference(), torch.full((3,), 0.5))
    assert is_weight_expression(ones.out)


def test_a_rotation_from_an_offset_passes_what_stands_before(build: Build) -> None:
    x, inv_freq = torch.randn(T, 20), torch.tensor([1.0, 0.3])
    positions = torch.arange(T)
    rope = build(
        lambda a, p, f: Rope(a, p, f, heads=2, offset=6),
        build.activation(20),
        build.indices,
        build.weight(2),
    )
    whole = build(
        lambda a, p, f: Rope(a, p, f, heads=2), build.activation(8), build.indices, build.weight(2)
    )
    found = rope.reference(x, positions, inv_freq).view(T, 2, 10)
    heads = x.view(T, 2, 10)
    assert torch.equal(found[..., :6], heads[..., :6])
    turned = whole.reference(heads[..., 6:].reshape(T, 8), positions, inv_freq)
    assert torch.equal(found[..., 6:].reshape(T, 8), turned)


def test_layer_norm_of_heads(build: Build) -> None:
    x, w = torch.randn(T, 12), torch.randn(4)
    op = build(
        lambda a, b: LayerNorm(a, b, eps=1e-5, heads=3), build.activation(12), build.weight(4)
    )
    expected = torch.nn.functional.layer_norm(x.view(T, 3, 4), (4,), w, None, 1e-5)
    torch.testing.assert_close(op.reference(x, w), expected.flatten(1))


REFUSED = {
    '"lm.arrange"(%x) {heads = 2 : i64, pieces = "0 0 6"': "five integers",
    '"lm.arrange"(%x) {heads = 0 : i64, pieces = "0 0 6 1 2"': "heads above 0",
    '"lm.arrange"(%x) {heads = 2 : i64, pieces = "0 0 11 1 2"': "below 12, found 0 to 12",
    '"lm.arrange"(%x) {heads = 2 : i64, pieces = "1 0 6 1 2"': "pieces of the operands {0}",
    '"lm.arrange"(%x) {heads = 2 : i64, pieces = "0 0 6 1 0"': "size 1 or more",
    '"lm.arrange"(%x) {heads = 2 : i64, pieces = "0 0 6 1 3"': "the result to be tensor<?x6xf32>",
}


@pytest.mark.parametrize("start", REFUSED)
def test_unsound_pieces_are_refused(start: str) -> None:
    source = f"""
    func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %batch: !lm.batch)
        -> tensor<?x4xf32> {{
      %w = "lm.weight"() {{symbol = "w"}} : () -> tensor<9x12xf32>
      %x = "lm.embedding"(%tokens, %w) : (tensor<?xi32>, tensor<9x12xf32>) -> tensor<?x12xf32>
      %y = {start}, operandSegmentSizes = array<i32: 1, 0, 0, 0>}}
        : (tensor<?x12xf32>) -> tensor<?x4xf32>
      return %y : tensor<?x4xf32>
    }}"""
    with pytest.raises(InvalidModuleError, match=REFUSED[start].replace("?", r"\?")):
        Module.parse(source)
