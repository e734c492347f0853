"""Recognises rotary positions in what the elements of a tensor are, and builds `lm.rope`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ingot.ir import Rope, Scale, Value, shape_of

from .arranging import arranged
from .forms import COS, NOTHING, PLAIN, SIN, SPAN, Floats, Form, Integers, Sources


@dataclass(frozen=True)
class _Turned:
    """The rotated features `[heads, rotary_dim]` of every head, from `offset` on in each.

    An element is `scale * (cosine * cos(f) + sign * sine * sin(f))`: codes of features, and the
    number of the frequency.
    """

    offset: int
    scale: float
    cosine: Integers
    sine: Integers
    sign: Floats
    frequency: Integers

    @property
    def width(self) -> int:
        """Features of a head that are rotated."""
        return int(self.cosine.shape[1])


def rotated(form: Form, heads: int, sources: Sources, tensors: Sequence[Value]) -> Value | None:
    """Return the `[T, features]` of a form of `heads` heads of which parts are rotated.

    `tensors` are the sources as values of `lm`.  None where it is no rotation of all heads alike.
    """
    turned = _turned(form, heads)
    interleaved = None if turned is None else _interleaved(turned)
    positions, frequencies = sources.positions, sources.frequencies
    if turned is None or positions is None or frequencies is None:
        return None
    if interleaved is None:
        # The other way round is a rotation with the frequencies negated.
        interleaved = _interleaved(replace(turned, sign=-turned.sign))
        frequencies = Scale(frequencies, factor=-1.0).out
    if interleaved is None or 2 * shape_of(frequencies)[0] != turned.width:
        return None
    codes = form.feature[..., 0].reshape(heads, -1).copy()
    place = slice(turned.offset, turned.offset + turned.width)
    # What a pair becomes is at the place of the feature that its cosine turns.
    codes[:, place] = turned.cosine
    shared = heads > 1 and (codes[:, place] == codes[:1, place]).all()
    x = arranged((codes[0, place] if shared else codes).reshape(-1), tensors)
    if x is None:
        return None
    rope = Rope(
        x,
        positions,
        frequencies,
        heads=1 if shared else heads,
        scale=turned.scale,
        interleaved=interleaved,
        offset=0 if shared else turned.offset,
    ).out
    if not shared:
        return rope
    # One head is rotated and then stands in all.
    codes[:, place] = len(tensors) * SPAN + np.arange(turned.width)
    return arranged(codes.reshape(-1), [*tensors, rope])


def _turned(form: Form, heads: int) -> _Turned | None:
    """Read a form: every element is one feature as it is, or two that are turned."""
    shape = (heads, -1, 2)
    coefficient: Floats = form.coefficient.reshape(shape)
    feature: Integers = form.feature.reshape(shape)
    wave: Integers = form.wave.reshape(shape)
    both = np.logical_and(*np.moveaxis(form.present.reshape(heads, -1, 2), -1, 0))
    places = np.flatnonzero(both[0])
    if not len(places) or (both != both[0]).any() or (np.diff(places) != 1).any():
        return None
    plain = (wave[..., 0] == PLAIN) & (coefficient[..., 0] == 1) & (feature[..., 0] != NOTHING)
    if not (plain | both).all():
        return None
    # Put the term with the cosine first.
    kind = wave // SPAN * SPAN
    order = np.argsort(kind != COS, axis=-1, kind="stable")[:, places]
    coefficient = np.take_along_axis(coefficient[:, places], order, -1)
    feature, wave, kind = (
        np.take_along_axis(one[:, places], order, -1) for one in (feature, wave, kind)
    )
    scale = float(coefficient[0, 0, 0])
    fits = (
        (kind[..., 0] == COS).all()
        and (kind[..., 1] == SIN).all()
        and (wave[..., 0] - COS == wave[..., 1] - SIN).all()
        and (feature != NOTHING).all()
        and (coefficient[..., 0] == scale).all()
        and (np.abs(coefficient[..., 1]) == scale).all()
    )
    if not fits:
        return None
    sign = np.sign(coefficient[..., 1])
    frequency = wave[..., 0] - COS
    return _Turned(int(places[0]), scale, feature[..., 0], feature[..., 1], sign, frequency)


def _pair(turned: _Turned, interleaved: bool) -> tuple[slice, slice]:
    """Return where the first and the second features of all pairs stand."""
    half = turned.width // 2
    if interleaved:
        return slice(0, None, 2), slice(1, None, 2)
    return slice(0, half), slice(half, None)


def _interleaved(turned: _Turned) -> bool | None:
    """Return whether pairs are neighbours, or half a head apart; None for neither."""
    for interleaved in (False, True):
        first, second = (np.s_[:, part] for part in _pair(turned, interleaved))
        if turned.width % 2:
            return None
        numbers = np.arange(turned.width // 2)
        fits = (
            (turned.sign[first] == -1).all()
            and (turned.sign[second] == 1).all()
            and (turned.sine[first] == turned.cosine[second]).all()
            and (turned.sine[second] == turned.cosine[first]).all()
            and (turned.frequency[first] == numbers).all()
            and (turned.frequency[second] == numbers).all()
        )
        if fits:
            return interleaved
    return None
