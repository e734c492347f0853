"""Rounding tensors to an encoding: to nearest, with the clipping that errs least.

For every group of 4-bit codes the range is shrunk by each factor of a small grid, scale (and zero
point or minimum) are rounded to what is stored, codes are chosen for the rounded scale, and the
candidate of the least error stays.  Then the scale that errs least for these codes (weighted least
squares) takes its place if it, and the codes for it, err less.

The error is that of the elements squared, each times its magnitude |x|: large weights are few, and
what they lose counts for more than their share of the squares.  On SmolLM2 the plain square costs
from a third more perplexity (groups of 32) to twice as much (128 symmetric).  8-bit codes take the
whole range: clipped, the few large weights of a row lose more than its many small ones gain.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ingot.errors import CheckpointError

from .encoding import ACTIVATION, CustomEncoding, Encoding, Offset
from .quant_tensor import QuantTensor
from .rounding_search import best_of_grid, can_search, fit_sums

# Elements worked on at once: the candidates of a chunk stay in the cache, and memory is bounded.
CHUNK_ELEMENTS = 1 << 18

_SHRINK_4 = tuple(1 - 0.025 * step for step in range(12))
# The grid of a symmetric group starts from the range whose signed extreme is code 0; beyond 1 the
# other end of the range, code 15, comes to the extreme's magnitude.
_SHRINK_SYMMETRIC = (8 / 7, 1.1, 1.06, 1.03, 1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85, 0.8)
_FLOAT16_MAX = 65504.0


@dataclass(frozen=True)
class _Candidate:
    """Stored scales and offsets of groups, as float32, and the codes and error they give."""

    scales: Tensor
    offsets: Tensor
    codes: Tensor
    error: Tensor


def quantize(tensor: Tensor, encoding: Encoding) -> QuantTensor:
    """Return `tensor` `[..., K]` (any float type) in `encoding`.

    Raises CheckpointError for values that are not finite.
    """
    assert not encoding.activation, "activations are rounded by round_activations"
    if isinstance(encoding, CustomEncoding):
        return _quantize_custom(tensor, encoding)
    columns = tensor.shape[-1]
    rows = tensor.reshape(-1, columns)
    groups = encoding.groups(columns)
    code_type = torch.uint8 if encoding.bits == 4 else torch.int8
    values = torch.empty(rows.shape, dtype=code_type)
    scale_type = torch.float16 if encoding.scale_bits == 16 else torch.float32
    scales = torch.empty(rows.shape[0], groups, dtype=scale_type)
    offsets = _empty_offsets(encoding, rows.shape[0], groups)
    for part, columns_part, groups_part in _blocks(rows.shape[0], columns, encoding):
        block = rows[part, columns_part]
        count = block.shape[0]
        best = _best_candidate(_grouped(block, groups_part), encoding)
        values[part, columns_part] = best.codes.t().reshape(block.shape)
        scales[part, groups_part] = best.scales.view(count, -1)
        if offsets is not None:
            offsets[part, groups_part] = best.offsets.view(count, -1)
    leading = tensor.shape[:-1]
    return QuantTensor(
        encoding,
        values.view(tensor.shape),
        scales.view(*leading, groups),
        None if offsets is None else offsets.view(*leading, groups),
    )


def _quantize_custom(tensor: Tensor, encoding: CustomEncoding) -> QuantTensor:
    """Return `tensor` in an encoding that makes codes, scales and offsets of groups itself."""
    columns = tensor.shape[-1]
    rows = tensor.reshape(-1, columns)
    _check_finite(rows)
    size, leading = encoding.group_size(columns), tensor.shape[:-1]
    values: list[Tensor] = []
    beside: list[tuple[Tensor, ...]] = []
    for part, columns_part, groups_part in _blocks(rows.shape[0], columns, encoding):
        block = rows[part, columns_part].to(torch.float32)
        codes, *others = encoding.encode(_grouped(block, groups_part).t().contiguous())
        values.append(codes.reshape(block.shape))
        beside.append(tuple(x.view(block.shape[0], -1) for x in others if x is not None))
    short = bool(columns % size) and columns > size
    scales, *offsets = (_assembled(list(parts), short) for parts in zip(*beside, strict=True))
    return QuantTensor(
        encoding,
        _assembled(values, short).view(tensor.shape),
        scales.view(*leading, -1),
        offsets[0].view(*leading, -1) if offsets else None,
    )


def _assembled(parts: list[Tensor], short: bool) -> Tensor:
    """Join blocks of rows; with `short` every second one has the last, short groups of its rows."""
    if short:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [torch.cat(pair, dim=1) for pair in pairs]
    return torch.cat(parts)


def _check_finite(x: Tensor) -> None:
    if not bool(torch.isfinite(x).all()):
        raise CheckpointError(
            "holds values that are not finite", hint="Give a checkpoint whose weights are finite."
        )


def round_activations(x: Tensor, encoding: Encoding = ACTIVATION) -> QuantTensor:
    """Return x `[T, K]` rounded: scale = max|x| / 127 of a group, half to even.

    Groups are those of `encoding`: 32 elements, or a whole row.  `bf16-act`: x rounded to bfloat16,
    half to even, with a scale of 1.
    """
    if not encoding.is_integer:
        scales = torch.ones(*x.shape[:-1], 1, dtype=x.dtype)
        return QuantTensor(encoding, x.to(torch.bfloat16), scales)
    columns = x.shape[-1]
    groups, size = encoding.groups(columns), encoding.group_size(columns)
    padded = torch.nn.functional.pad(x, (0, groups * size - columns))
    grouped = padded.reshape(*x.shape[:-1], groups, size)
    scales = grouped.abs().amax(-1) / 127
    codes = torch.round(grouped / _divisor(scales).unsqueeze(-1)).clamp_(-127, 127)
    values = codes.to(torch.int8).reshape(*x.shape[:-1], -1)[..., :columns]
    return QuantTensor(encoding, values, scales)


def _empty_offsets(encoding: Encoding, rows: int, groups: int) -> Tensor | None:
    if encoding.offset is Offset.ZERO_POINT:
        return torch.empty(rows, groups, dtype=torch.uint8)
    if encoding.offset is Offset.MINIMUM:
        return torch.empty(rows, groups, dtype=torch.float16)
    return None


def _blocks(rows: int, columns: int, encoding: Encoding) -> Iterator[tuple[slice, slice, slice]]:
    """Yield ranges of rows, columns and groups of at most `CHUNK_ELEMENTS`; groups of one size.

    A short last group of the rows is a block of its own.
    """
    size = encoding.group_size(columns)
    whole = columns // size
    step = max(1, CHUNK_ELEMENTS // columns)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        if whole:
            yield part, slice(0, whole * size), slice(0, whole)
        if whole * size < columns:
            yield part, slice(whole * size, columns), slice(whole, whole + 1)


def _grouped(block: Tensor, groups: slice) -> Tensor:
    """Return float32 `[group size, groups of all rows]`."""
    count = block.shape[0] * (groups.stop - groups.start)
    return block.to(torch.float32).reshape(count, -1).t().contiguous()


def _divisor(scales: Tensor) -> Tensor:
    """Return the scales with 1 for 0, where every code is 0."""
    return torch.where(scales == 0, 1.0, scales)


def _stored(scales: Tensor, encoding: Encoding) -> Tensor:
    """Return float32 scales as they come back from where they are stored."""
    if encoding.scale_bits == 32:
        return scales
    return scales.clamp(-_FLOAT16_MAX, _FLOAT16_MAX).to(torch.float16).to(torch.float32)


def _best_candidate(x: Tensor, encoding: Encoding) -> _Candidate:
    """Return for every group (column of x) the candidate of the least error."""
    if encoding.offset in (Offset.MIDDLE, Offset.ZERO_POINT):
        if can_search(*x.shape):
            return _searched(x, encoding)
        best = _best_of_grid(x, encoding)
        return _better(best, _encode(x, _fitted(x, best, encoding), best.offsets, encoding))
    return _best_of_grid(x, encoding)


def _best_of_grid(x: Tensor, encoding: Encoding) -> _Candidate:
    candidates = (_encode(x, scales, offsets, encoding) for scales, offsets in _grid(x, encoding))
    return reduce(_better, candidates)


def _better(best: _Candidate, found: _Candidate) -> _Candidate:
    """Return for every group the candidate that errs less, the first where they are equal."""
    better = found.error < best.error
    return _Candidate(
        torch.where(better, found.scales, best.scales),
        torch.where(better, found.offsets, best.offsets),
        torch.where(better, found.codes, best.codes),
        torch.where(better, found.error, best.error),
    )


def _searched(x: Tensor, encoding: Encoding) -> _Candidate:
    """Return what torch would find, by compiled loops."""
    scales, offsets = (torch.stack(parts) for parts in zip(*_grid(x, encoding), strict=True))
    place = best_of_grid(x, scales, offsets).unsqueeze(0)
    best, offset = scales.gather(0, place)[0], offsets.gather(0, place)[0]
    above, below = fit_sums(x, best, offset)
    pair = torch.stack([best, _stored(above / _divisor(below), encoding)])
    chosen = best_of_grid(x, pair, torch.stack([offset, offset])).unsqueeze(0)
    return _encode(x, pair.gather(0, chosen)[0], offset, encoding)


def _fitted(x: Tensor, found: _Candidate, encoding: Encoding) -> Tensor:
    """Return the stored scales that err least for the codes of `found`: least squares."""
    centred = found.codes - found.offsets
    weighted = centred * x.abs()
    above, below = (weighted * x).sum(0), (weighted * centred).sum(0)
    return _stored(above / _divisor(below), encoding)


def _grid(x: Tensor, encoding: Encoding) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield stored scales and offsets, widest range first."""
    low, high = torch.aminmax(x, dim=0)
    _check_finite(high - low)
    zeros = torch.zeros_like(low)
    if encoding.bits == 8:
        yield _stored(torch.maximum(high, -low) / 127, encoding), zeros
    elif encoding.offset is Offset.MIDDLE:
        extreme = torch.where(high > -low, high, low)
        for factor in _SHRINK_SYMMETRIC:
            yield _stored(extreme * (factor / -8), encoding), zeros + 8
    elif encoding.offset is Offset.ZERO_POINT:
        low, high = low.clamp(max=0), high.clamp(min=0)
        for factor in _SHRINK_4:
            scales = _stored((high - low) * (factor / 15), encoding)
            yield scales, torch.round(low * -factor / _divisor(scales)).clamp_(0, 15)
    else:
        for factor in _SHRINK_4:
            middle, half = (high + low) / 2, (high - low) * (factor / 2)
            minima = _stored(middle - half, encoding)
            yield _stored(half * (2 / 15), encoding), minima


def _encode(x: Tensor, scales: Tensor, offsets: Tensor, encoding: Encoding) -> _Candidate:
    """Return the codes nearest to x for the given scales, and their squared error times |x|."""
    if encoding.offset is Offset.MINIMUM:
        codes = ((x - offsets) / _divisor(scales)).round_().clamp_(0, 15)
        error = (codes * scales).add_(offsets).sub_(x)
    elif encoding.bits == 4:
        codes = (x / _divisor(scales)).add_(offsets).round_().clamp_(0, 15)
        error = (codes - offsets).mul_(scales).sub_(x)
    else:
        codes = (x / _divisor(scales)).round_().clamp_(-127, 127)
        error = (codes * scales).sub_(x)
    return _Candidate(scales, offsets, codes, error.square_().mul_(x.abs()).sum(0))
