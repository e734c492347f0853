"""What the elements of a torch tensor are, as sums of features that rotary positions turn.

A rotation, however a model spells it, makes elements of the form `a * cos(p f) - b * sin(p f)` with
features a and b, the position p and a frequency f; splitting, joining and repeating heads makes
elements that are one feature.  So a `Form` holds for every element up to two *terms*, each a
coefficient times a feature times a *wave*, and evaluating torch ops on forms tells what a tensor
is without a pattern for every way to write it.

One token stands for all: the sizes of a form have 1 where the tensor has the number of tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingot.ir import Value

TERMS = 2
SPAN = 1 << 32
"""Codes are `index * SPAN + column`: of a feature, or of a wave, whose index is its kind."""
NOTHING = -1
PLAIN, POSITION, FREQUENCY, ANGLE, COS, SIN = (kind * SPAN for kind in range(6))
"""The kinds of waves: 1, p, f, p f, cos(p f), sin(p f); all but the first two of a frequency."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass
class Sources:
    """What the codes of forms stand for: the tensors whose columns are features, and the angles."""

    tensors: list[Value] = field(default_factory=list)
    positions: Value | None = None
    frequencies: Value | None = None


@dataclass(frozen=True)
class Form:
    """The terms of every element; all arrays are `[..., TERMS]`, absent terms have coefficient 0.

    `imaginary` is there where the tensor is complex.
    """

    coefficient: Floats
    feature: Integers
    wave: Integers
    imaginary: "Form | None" = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the tensor, 1 for the tokens."""
        return self.coefficient.shape[:-1]

    @property
    def real(self) -> "Form":
        """The real part."""
        return Form(self.coefficient, self.feature, self.wave)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which terms there are."""
        return np.not_equal(self.coefficient, 0)

    def moved(self, move: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> "Form":
        """Return the elements where `move` puts their indices `[sizes]`."""
        count = int(np.prod(self.sizes, dtype=np.int64))
        places = move(np.arange(count, dtype=np.int64).reshape(self.sizes))
        imaginary = self.imaginary.moved(move) if self.imaginary else None
        return Form(
            self.coefficient.reshape(count, TERMS)[places],
            self.feature.reshape(count, TERMS)[places],
            self.wave.reshape(count, TERMS)[places],
            imaginary,
        )

    def times(self, factor: float) -> "Form":
        """Return the product with a number."""
        imaginary = self.imaginary.times(factor) if self.imaginary else None
        return Form(self.coefficient * factor, self.feature, self.wave, imaginary)

    def waves(self) -> set[int]:
        """Return the kinds of waves among the terms, `PLAIN` where there is none."""
        return set((self.wave[self.present] // SPAN * SPAN).tolist())


def constant_form(sizes: Sequence[int], value: float) -> Form:
    """Return the form of a tensor of one repeated number."""
    coefficient = np.zeros((*sizes, TERMS))
    coefficient[..., 0] = value
    return Form(coefficient, _codes(sizes, NOTHING), _codes(sizes, PLAIN))


def feature_form(sizes: Sequence[int], tensor: int) -> Form:
    """Return the form of the tensor that is number `tensor` of the sources."""
    base = constant_form(sizes, 1.0)
    columns = np.arange(int(np.prod(sizes, dtype=np.int64)), dtype=np.int64).reshape(tuple(sizes))
    base.feature[..., 0] = tensor * SPAN + columns
    return base


def position_form(sizes: Sequence[int]) -> Form:
    """Return the form of the positions."""
    base = constant_form(sizes, 1.0)
    base.wave[..., 0] = POSITION
    return base


def frequency_form(count: int) -> Form:
    """Return the form of the vector of frequencies."""
    base = constant_form([count], 1.0)
    base.wave[..., 0] = FREQUENCY + np.arange(count)
    return base


def joined(forms: Sequence[Form], axis: int) -> Form | None:
    """Return the forms joined along an existing dimension; None for reals among complex ones."""
    axis %= len(forms[0].sizes)
    coefficient, feature, wave = (
        np.concatenate([getattr(form, name) for form in forms], axis) for name in _ARRAYS
    )
    parts = [form.imaginary for form in forms if form.imaginary]
    if parts and len(parts) != len(forms):
        return None
    return Form(coefficient, feature, wave, joined(parts, axis) if parts else None)


def added(x: Form, y: Form) -> Form | None:
    """Return the sum; None where an element needs more terms than a form has."""
    if x.imaginary or y.imaginary:
        return None
    parts = [np.broadcast_arrays(getattr(x, n), getattr(y, n)) for n in _ARRAYS]
    coefficient, feature, wave = (np.concatenate(pair, axis=-1) for pair in parts)
    order = np.argsort(coefficient == 0, axis=-1, kind="stable")
    coefficient, feature, wave = (
        np.take_along_axis(one, order, -1) for one in (coefficient, feature, wave)
    )
    if coefficient[..., TERMS:].any():
        return None
    return Form(coefficient[..., :TERMS], feature[..., :TERMS], wave[..., :TERMS])


def product(x: Form, y: Form) -> Form | None:
    """Return the product of forms of at most one term, of which one at most has features."""
    if x.imaginary and y.imaginary:
        return _complex_product((x.real, x.imaginary), (y.real, y.imaginary))
    if x.imaginary or y.imaginary or x.present[..., 1:].any() or y.present[..., 1:].any():
        return None
    pairs = [np.broadcast_arrays(getattr(x, n)[..., 0], getattr(y, n)[..., 0]) for n in _ARRAYS]
    coefficient = pairs[0][0] * pairs[0][1]
    feature, second = pairs[1]
    wave = _wave_product(*pairs[2])
    if wave is None or ((feature != NOTHING) & (second != NOTHING)).any():
        return None
    base = constant_form(coefficient.shape, 0.0)
    base.coefficient[..., 0] = coefficient
    base.feature[..., 0] = np.where(feature == NOTHING, second, feature)
    base.wave[..., 0] = wave
    return base


_ARRAYS = ("coefficient", "feature", "wave")


def _codes(sizes: Sequence[int], code: int) -> Integers:
    return np.full((*sizes, TERMS), code, dtype=np.int64)


def _wave_product(x: Integers, y: Integers) -> Integers | None:
    """Return the product of waves: with 1, or of the position with a frequency."""
    low, high = np.minimum(x, y), np.maximum(x, y)
    is_angle = (low == POSITION) & (high // SPAN * SPAN == FREQUENCY)
    if not ((low == PLAIN) | is_angle).all():
        return None
    return np.where(is_angle, high - FREQUENCY + ANGLE, high)


def _complex_product(x: tuple[Form, Form], y: tuple[Form, Form]) -> Form | None:
    """Return `(a + ib)(c + id)`."""
    (a, b), (c, d) = x, y
    ac, bd, ad, bc = product(a, c), product(b, d), product(a, d), product(b, c)
    if ac is None or bd is None or ad is None or bc is None:
        return None
    real, imaginary = added(ac, bd.times(-1)), added(ad, bc)
    if real is None or imaginary is None:
        return None
    return Form(real.coefficient, real.feature, real.wave, imaginary)
