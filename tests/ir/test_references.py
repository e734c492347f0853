"""Every operation means what the plain formula says."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ingot.ir import (
    ACTIVATIONS,
    Activation,
    Add,
    AddLayerNorm,
    AddRmsNorm,
    Batch,
    BF16Type,
    Concat,
    Convert,
    Datum,
    Embedding,
    Encoding,
    FromTorch,
    Glu,
    LayerNorm,
    Linear,
    Mul,
    Op,
    Quantize,
    QuantTensor,
    RmsNorm,
    Rope,
    Round,
    Scale,
    SelectRows,
    Slice,
    Softcap,
    ToTorch,
    Transpose,
    quantize,
    round_activations,
    tensor_type,
)

Build = Any
T = 7


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def run(op: Op, *inputs: Datum) -> Any:
    return op.reference(*inputs)


def close(found: Any, expected: Tensor) -> None:
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_linear(build: Build) -> None:
    x, w, bias = torch.randn(T, 37), torch.randn(11, 37), torch.randn(11)
    op = build(Linear, build.activation(37), build.weight(11, 37))
    close(run(op, x, w), x @ w.T)
    op = build(Linear, build.activation(37), build.weight(11, 37), build.weight(11))
    assert op.bias is not None
    close(run(op, x, w, bias), x @ w.T + bias)


@pytest.mark.parametrize("name", ["int4-g32", "int4-g64-sym", "int4-g32-min", "int8", "int8-g32"])
def test_linear_on_rounded_operands_follows_the_arithmetic_contract(
    build: Build, name: str
) -> None:
    x, w = torch.randn(T, 96), torch.randn(11, 96)
    rounded, encoded = round_activations(x), quantize(w, Encoding.parse(name))
    op = build(Linear, build.activation(96, rounded=True), build.weight(11, 96, encoding=name))
    expected = torch.zeros(T, 11, dtype=torch.float64)
    codes, scales = rounded.values.double(), rounded.scales.double()
    for group in range(3):
        part = slice(32 * group, 32 * group + 32)
        place = 32 * group // encoded.encoding.group_size(96)
        s_w = encoded.scales[:, place].double()
        stored = encoded.values[:, part].double()
        if encoded.encoding.bits == 4 and name.endswith("-sym"):
            stored -= 8
        elif name == "int4-g32":
            assert encoded.offsets is not None
            stored -= encoded.offsets[:, place, None].double()
        dot = codes[:, part] @ stored.T
        expected += dot * s_w * scales[:, group, None]
        if name.endswith("-min"):
            assert encoded.offsets is not None
            total = codes[:, part].sum(1, keepdim=True) * scales[:, group, None]
            expected += encoded.offsets[:, place].double() * total
    torch.testing.assert_close(run(op, rounded, encoded).double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("encoding", ["", "int8", "int4-g32"])
def test_embedding(build: Build, encoding: str) -> None:
    table = torch.randn(13, 40)
    tokens = torch.tensor([3, 0, 12, 3], dtype=torch.int32)
    op = build(Embedding, build.indices, build.weight(13, 40, encoding=encoding))
    if not encoding:
        close(run(op, tokens, table), table[tokens.long()])
        return
    encoded = quantize(table, Encoding.parse(encoding))
    close(run(op, tokens, encoded), encoded.dequantize()[tokens.long()])


def rms(x: Tensor, w: Tensor, eps: float) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w


def test_rms_norm(build: Build) -> None:
    x, w = torch.randn(T, 15), torch.randn(15)
    op = build(lambda *v: RmsNorm(*v, eps=1e-3), build.activation(15), build.weight(15))
    assert (op.eps, op.heads) == (1e-3, 1)
    close(run(op, x, w), rms(x, w, 1e-3))


def test_rms_norm_of_each_head(build: Build) -> None:
    x, w = torch.randn(T, 15), torch.randn(5)
    op = build(lambda *v: RmsNorm(*v, eps=1e-3, heads=3), build.activation(15), build.weight(5))
    heads = [rms(x[:, 5 * h : 5 * h + 5], w, 1e-3) for h in range(3)]
    close(run(op, x, w), torch.cat(heads, 1))


@pytest.mark.parametrize("biased", [False, True])
def test_layer_norm(build: Build, biased: bool) -> None:
    x, w, b = torch.randn(T, 15) + 3, torch.randn(15), torch.randn(15)
    kinds = [build.activation(15), build.weight(15), build.weight(15)]
    op = build(lambda *v: LayerNorm(*v, eps=1e-3), *kinds[: 2 + biased])
    normed = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, False, keepdim=True) + 1e-3)
    inputs = (x, w, b)[: 2 + biased]
    close(run(op, *inputs), normed * w + (b if biased else 0))


def test_add_rms_norm(build: Build) -> None:
    x, residual, w = torch.randn(T, 15), torch.randn(T, 15), torch.randn(15)
    row = build.activation(15)
    op = build(lambda *v: AddRmsNorm(*v, eps=1e-3), row, row, build.weight(15))
    total, normed = run(op, x, residual, w)
    close(total, x + residual)
    close(normed, rms(x + residual, w, 1e-3))


def test_add_layer_norm(build: Build) -> None:
    x, residual, w, b = torch.randn(T, 15), torch.randn(T, 15), torch.randn(15), torch.randn(15)
    row, vector = build.activation(15), build.weight(15)
    op = build(lambda *v: AddLayerNorm(*v, eps=1e-3), row, row, vector, vector)
    total, normed = run(op, x, residual, w, b)
    close(total, x + residual)
    close(normed, functional.layer_norm(x + residual, (15,), w, b, 1e-3))


@pytest.mark.parametrize("interleaved", [False, True])
def test_rope_is_a_complex_rotation(build: Build, interleaved: bool) -> None:
    x, inv_freq = torch.randn(T, 3 * 10), torch.rand(3)
    positions = torch.randint(0, 50, (T,), dtype=torch.int32)
    op = build(
        lambda *v: Rope(*v, heads=3, scale=1.5, interleaved=interleaved),
        build.activation(30),
        build.indices,
        build.weight(3),
    )
    assert (op.head_dim, op.rotary_dim) == (10, 6)
    expected = x.clone()
    for token in range(T):
        for head in range(3):
            for pair in range(3):
                one, two = (2 * pair, 2 * pair + 1) if interleaved else (pair, pair + 3)
                angle = float(positions[token]) * float(inv_freq[pair])
                turn = 1.5 * complex(math.cos(angle), math.sin(angle))
                value = complex(x[token, 10 * head + one], x[token, 10 * head + two]) * turn
                expected[token, 10 * head + one] = value.real
                expected[token, 10 * head + two] = value.imag
    torch.testing.assert_close(run(op, x, positions, inv_freq), expected, rtol=1e-4, atol=1e-4)


FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: x.clamp(min=0),
    "relu2": lambda x: x.clamp(min=0) ** 2,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "softplus": lambda x: torch.log1p(torch.exp(x)),
    "tanh": torch.tanh,
}


def test_every_activation_has_a_formula() -> None:
    assert set(FORMULAS) == set(ACTIVATIONS)


@pytest.mark.parametrize("kind", sorted(FORMULAS))
def test_activation_and_glu(build: Build, kind: str) -> None:
    x, up = torch.randn(T, 15), torch.randn(T, 15)
    row = build.activation(15)
    close(run(build(lambda v: Activation(v, kind=kind), row), x), FORMULAS[kind](x))
    close(run(build(lambda *v: Glu(*v, kind=kind), row, row), x, up), FORMULAS[kind](x) * up)


def test_elementwise(build: Build) -> None:
    x, y, w = torch.randn(T, 15), torch.randn(T, 15), torch.randn(15)
    row, vector = build.activation(15), build.weight(15)
    close(run(build(Add, row, row), x, y), x + y)
    close(run(build(Add, row, vector), x, w), x + w)
    close(run(build(Mul, row, row), x, y), x * y)
    close(run(build(Mul, row, vector), x, w), x * w)
    close(run(build(lambda v: Scale(v, factor=-2.5), row), x), x * -2.5)
    close(run(build(lambda v: Softcap(v, cap=1.5), row), x), 1.5 * torch.tanh(x / 1.5))


def test_slice_and_select_rows(build: Build) -> None:
    x = torch.randn(T, 15)
    op = build(lambda v: Slice(v, offset=4, size=9), build.activation(15))
    close(run(op, x), x[:, 4:13])
    op = build(SelectRows, build.activation(15), build.batch)
    close(run(op, x, Batch([0, T], rows=[1, 6])), x[[1, 6]])
    close(run(op, x, Batch([0, T])), x)


def test_weight_operations(build: Build) -> None:
    w = torch.randn(6, 40)
    half = tensor_type([6, 40], BF16Type.get(build.context))
    op = build(Convert, half)
    close(run(op, w.bfloat16()), w.bfloat16().float())
    close(run(build(Transpose, build.weight(6, 40)), w), w.T)
    parts = [torch.randn(n, 40) for n in (3, 1, 5)]
    kinds = [build.weight(n, 40) for n in (3, 1, 5)]
    close(run(build(lambda *v: Concat(v), *kinds), *parts), torch.cat(parts))
    op = build(lambda v: Quantize(v, "int4-g32"), build.weight(6, 40))
    encoded = run(op, w)
    assert isinstance(encoded, QuantTensor)
    assert torch.equal(encoded.values, quantize(w, Encoding.parse("int4-g32")).values)


@pytest.mark.parametrize("name", ["int4-g32", "int4-g32-sym", "int4-g32-min", "int8", "int8-g32"])
def test_encoded_weights_join_and_decode(build: Build, name: str) -> None:
    parts = [torch.randn(n, 40) for n in (3, 5)]
    encoded = [quantize(part, Encoding.parse(name)) for part in parts]
    kinds = [build.weight(n, 40, encoding=name) for n in (3, 5)]
    joined = run(build(lambda *v: Concat(v), *kinds), *encoded)
    assert isinstance(joined, QuantTensor)
    decoded = run(build(Convert, build.weight(8, 40, encoding=name)), joined)
    close(decoded, torch.cat([part.dequantize() for part in encoded]))


def test_round(build: Build) -> None:
    x = torch.randn(T, 40)
    rounded = run(build(Round, build.activation(40)), x)
    for token in range(T):
        for part in (slice(0, 32), slice(32, 40)):
            scale = x[token, part].abs().max() / 127
            codes = torch.round(x[token, part] / scale).to(torch.int8)
            assert torch.equal(rounded.values[token, part], codes)
            assert rounded.scales[token, part.start // 32] == scale


def test_producers_round_as_round_does(build: Build) -> None:
    x, y, w = torch.randn(T, 40), torch.randn(T, 40), torch.randn(40)
    row, vector = build.activation(40), build.weight(40)
    cases: list[tuple[Callable[..., Op], list[Any], list[Tensor]]] = [
        (lambda *v, **o: RmsNorm(*v, eps=1e-3, **o), [row, vector], [x, w]),
        (lambda *v, **o: LayerNorm(*v, eps=1e-3, **o), [row, vector], [x, w]),
        (lambda *v, **o: AddRmsNorm(*v, eps=1e-3, **o), [row, row, vector], [x, y, w]),
        (lambda *v, **o: AddLayerNorm(*v, eps=1e-3, **o), [row, row, vector], [x, y, w]),
        (lambda *v, **o: Glu(*v, kind="silu", **o), [row, row], [x, y]),
    ]
    for make, kinds, inputs in cases:
        plain = run(build(make, *kinds), *inputs)
        rounding = build(lambda *v, make=make: make(*v, rounded=True), *kinds)
        assert rounding.can_round
        fused = run(rounding, *inputs)
        if isinstance(plain, tuple):
            close(fused[0], plain[0])
            plain, fused = plain[1], fused[1]
        expected = round_activations(plain)
        assert torch.equal(fused.values, expected.values)
        assert torch.equal(fused.scales, expected.scales)


def test_bridge(build: Build) -> None:
    x, tokens, w = torch.randn(T, 15), torch.arange(T, dtype=torch.int32), torch.randn(4, 5)
    there = build(ToTorch, build.activation(15))
    back = build(FromTorch, there.out.type)
    assert str(there.out.type) == "!torch.vtensor<[1,?,15],f32>"
    assert run(there, x).shape == (1, T, 15)
    close(run(back, run(there, x)), x)
    there = build(ToTorch, build.indices)
    assert str(there.out.type) == "!torch.vtensor<[1,?],si64>"
    assert run(there, tokens).dtype == torch.int64
    assert torch.equal(run(build(FromTorch, there.out.type), run(there, tokens)), tokens)
    close(run(build(ToTorch, build.weight(4, 5)), w), w)
