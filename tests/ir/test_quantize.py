"""What rounding to an encoding guarantees, on tensors of all kinds."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ingot.errors import CheckpointError
from ingot.ir import Encoding, QuantTensor, concatenate, quantize, round_activations

WEIGHT_ENCODINGS = [
    "int4-g32",
    "int4-g64",
    "int4-g128",
    "int4-g32-sym",
    "int4-g64-sym",
    "int4-g32-min",
    "int8",
    "int8-g32",
]


@st.composite
def matrices(draw: st.DrawFn) -> Tensor:
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 150))
    seed = draw(st.integers(0, 2**32 - 1))
    scale = 10.0 ** draw(st.integers(-4, 2))
    shift = draw(st.sampled_from([0.0, 3.0, -3.0]))
    values = np.random.default_rng(seed).standard_normal((rows, columns)) + shift
    values[:, :: draw(st.integers(1, 40))] *= draw(st.sampled_from([0.0, 1.0, 20.0]))
    return torch.from_numpy((values * scale).astype(np.float32))


def spread(per_group: Tensor, q: QuantTensor) -> Tensor:
    size = q.encoding.group_size(q.shape[-1])
    return per_group.float().repeat_interleave(size, -1)[..., : q.shape[-1]]


@pytest.mark.parametrize("name", WEIGHT_ENCODINGS)
@given(w=matrices())
@settings(max_examples=25, deadline=None)
def test_parts_have_the_declared_types_and_ranges(name: str, w: Tensor) -> None:
    encoding = Encoding.parse(name)
    q = quantize(w, encoding)
    groups = encoding.groups(w.shape[1])
    assert q.shape == tuple(w.shape) and q.scales.shape == (len(w), groups)
    assert q.scales.dtype == (torch.float16 if encoding.scale_bits == 16 else torch.float32)
    if encoding.bits == 4:
        assert q.values.dtype == torch.uint8 and int(q.values.max()) <= 15
    else:
        assert q.values.dtype == torch.int8 and int(q.values.min()) >= -127
    if name in ("int4-g32", "int4-g64", "int4-g128"):
        assert q.offsets is not None and q.offsets.dtype == torch.uint8
        assert q.offsets.shape == q.scales.shape and int(q.offsets.max()) <= 15
    elif name == "int4-g32-min":
        assert q.offsets is not None and q.offsets.dtype == torch.float16
    else:
        assert q.offsets is None


@pytest.mark.parametrize("name", WEIGHT_ENCODINGS)
@given(w=matrices())
@settings(max_examples=25, deadline=None)
def test_the_error_is_at_most_that_of_the_whole_range(name: str, w: Tensor) -> None:
    """Clipping is chosen by error, so a group errs hardly more than unclipped rounding does."""
    encoding = Encoding.parse(name)
    q = quantize(w, encoding)
    size = encoding.group_size(w.shape[1])
    levels = {4: 15, 8: 254}[encoding.bits]
    for start in range(0, w.shape[1], size):
        part = w[:, start : start + size]
        low, high = part.amin(1), part.amax(1)
        if name.startswith(("int4-g32-sym", "int4-g64-sym", "int8")):
            width = 2 * part.abs().amax(1)
        elif name == "int4-g32-min":
            width = high - low
        else:
            width = high.clamp(min=0) - low.clamp(max=0)
        # Half a step, an integer zero point's own half, and what float16 loses.
        slack = {"int4-g32-min": 0.5, "int8": 0.5, "int8-g32": 0.5}.get(name, 1.0)
        bound = width / levels * slack + part.abs().amax(1) * 2**-9 + 2e-6
        error = (q.dequantize()[:, start : start + size] - part).square().mean(1).sqrt()
        assert bool((error <= bound).all()), (error, bound)


@pytest.mark.parametrize("name", WEIGHT_ENCODINGS)
def test_what_is_on_the_grid_comes_back_exactly(name: str) -> None:
    encoding = Encoding.parse(name)
    once = quantize(torch.randn(6, 96), encoding).dequantize()
    if name == "int8":
        torch.testing.assert_close(quantize(once, encoding).dequantize(), once, rtol=1e-6, atol=0)
        return
    again = quantize(once, encoding).dequantize()
    assert float((again - once).square().mean()) <= 2e-3 * float(once.square().mean())


@pytest.mark.parametrize("name", WEIGHT_ENCODINGS)
def test_zeros_stay_zeros(name: str) -> None:
    w = torch.zeros(3, 70)
    assert torch.equal(quantize(w, Encoding.parse(name)).dequantize(), w)


@pytest.mark.parametrize("name", WEIGHT_ENCODINGS)
def test_clipping_beats_the_whole_range_on_normal_weights(name: str) -> None:
    torch.manual_seed(0)
    w = torch.randn(64, 256)
    q = quantize(w, Encoding.parse(name))
    plain = w.reshape(64, -1, q.encoding.group_size(256))
    if q.encoding.bits == 8 or name.endswith("-sym"):
        scale = plain.abs().amax(-1, keepdim=True) / (127 if q.encoding.bits == 8 else 7)
        rounded = (plain / scale).round() * scale
    else:
        low, high = plain.amin(-1, keepdim=True), plain.amax(-1, keepdim=True)
        scale = (high - low) / 15
        # What is added to codes: the zero point is an integer, the minimum any number.
        least = low if name.endswith("-min") else (low / scale).round() * scale
        rounded = ((plain - least) / scale).round().clamp(0, 15) * scale + least
    error = ((q.dequantize() - w).square() * w.abs()).mean()
    bound = ((rounded - plain).square() * plain.abs()).mean()
    assert float(error) < float(bound) * (1.001 if "8" in name else 1)


def test_known_codes() -> None:
    """A group of two values that the asymmetric encoding holds exactly."""
    w = torch.tensor([[-1.0, 2.75, 0.0, 0.5]])
    q = quantize(w, Encoding.parse("int4-g32"))
    assert q.offsets is not None
    assert (q.scales.item(), q.offsets.item()) == (0.25, 4)
    assert q.values.tolist() == [[0, 15, 4, 6]]


def test_a_matrix_larger_than_a_chunk_is_rounded_row_by_row() -> None:
    torch.manual_seed(0)
    w = torch.randn(2100, 160)
    whole = quantize(w, Encoding.parse("int4-g32"))
    for rows in (slice(0, 1), slice(1630, 1650), slice(2099, 2100)):
        part = quantize(w[rows], Encoding.parse("int4-g32"))
        assert torch.equal(part.values, whole.values[rows])
        assert torch.equal(part.scales, whole.scales[rows])


def test_half_precision_and_more_dimensions() -> None:
    w = torch.randn(2, 3, 64, dtype=torch.bfloat16)
    q = quantize(w, Encoding.parse("int8-g32"))
    assert q.values.shape == (2, 3, 64) and q.scales.shape == (2, 3, 2)
    assert torch.equal(q.values[1], quantize(w[1].float(), q.encoding).values)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    w = torch.zeros(3, 64)
    w[1, 40] = bad
    with pytest.raises(CheckpointError, match="not finite"):
        quantize(w, Encoding.parse("int4-g32"))


@given(x=matrices())
@settings(max_examples=40, deadline=None)
def test_rounded_activations_are_within_half_a_step(x: Tensor) -> None:
    q = round_activations(x)
    assert int(q.values.abs().max()) <= 127
    step = spread(q.scales, q)
    assert bool(((q.dequantize() - x).abs() <= step * 0.5001 + 1e-30).all())
    # The largest of every group is code 127, so nothing of the range is wasted.
    for start in range(0, x.shape[1], 32):
        part = slice(start, start + 32)
        largest = q.values[:, part].abs().amax(1)
        assert bool(((largest == 127) | (x[:, part].abs().amax(1) == 0)).all())


def test_activations_round_half_to_even() -> None:
    x = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, 3.49, 0.0]])
    assert round_activations(x).values.tolist() == [[127, 0, 2, 2, 0, -2, 3, 0]]


@pytest.mark.parametrize("name", WEIGHT_ENCODINGS)
def test_rows_and_concatenation(name: str) -> None:
    parts = [quantize(torch.randn(n, 70), Encoding.parse(name)) for n in (3, 4)]
    joined = concatenate(parts)
    values = torch.cat([part.dequantize() for part in parts])
    assert torch.equal(joined.dequantize(), values)
    picked = torch.tensor([6, 0, 0])
    assert torch.equal(joined.rows(picked).dequantize(), values[picked])


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the least time of three runs on this thread, which other processes do not lengthen."""
    times = []
    for _ in range(3):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


@pytest.mark.usefixtures("one_thread")
def test_rounding_is_fast_enough_for_a_compiler() -> None:
    """A feed-forward matrix of a 0.5 B model takes a fraction of a second, not seconds."""
    w = torch.randn(4864, 896)
    encoding = Encoding.parse("int4-g32")
    assert processor_seconds(lambda: quantize(w, encoding)) < 1


def test_activations_to_bfloat16_are_the_nearest_with_halves_to_even() -> None:
    encoding = Encoding.parse("bf16-act")
    x = torch.tensor([[1.0, 1.00390625, 1.01171875, -3.1415926, 1e-40, 0.0]])
    rounded = round_activations(x, encoding)
    assert rounded.encoding == encoding and rounded.values.dtype == torch.bfloat16
    assert torch.equal(rounded.dequantize(), x.to(torch.bfloat16).float())
    assert rounded.dequantize()[0, :3].tolist() == [1.0, 1.0, 1.015625]
    assert torch.equal(round_activations(x.double(), encoding).dequantize(), rounded.dequantize())
