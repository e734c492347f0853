"""Sine and cosine of float32 angles up to a million and beyond, correct to the last place.

The angle is reduced and both functions are evaluated in float64, without fused operations: every
instruction-set level gives the same bits.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import F32, I64, Type, Value, constant, select

_F64 = Type("f64")
_TWO_OVER_PI = 0.6366197723675814
# pi / 2 in two parts; the first has 33 significant bits: products with integers to 2^20 are exact.
_HALF_PI_HIGH, _HALF_PI_LOW = 1.5707963267341256, 6.077100506506192e-11
# Adding 1.5 * 2^52 leaves the nearest integer in the low bits.
_ROUNDING = 6755399441055744.0

# (sin r - r) / r^3 and (cos r - 1 + r^2 / 2) / r^4 in r^2 for |r| <= pi / 4: minimax fits
_SIN = (
    -0.16666666640776254,
    0.008333329302418938,
    -0.00019839311485930506,
    2.7181141223614464e-06,
)
_COS = (
    0.041666666619453716,
    -0.0013888883496858404,
    2.479945930973355e-05,
    -2.7205684600192786e-07,
)


def cos_and_sin(angles: Value) -> tuple[Value, Value]:
    """Return cos and sin of float32 `angles` in radians, |angle| below 1.6 million."""
    lanes = angles.type.lanes
    wide = angles.to(_F64)
    shifted = wide * _TWO_OVER_PI + _ROUNDING
    turns = shifted - _ROUNDING
    quadrant = shifted.bitcast(I64.x(lanes))
    r = wide - turns * _HALF_PI_HIGH - turns * _HALF_PI_LOW
    squared = r * r
    sine = r + r * squared * _horner(squared, _SIN)
    cosine = (1.0 - squared * 0.5) + squared * squared * _horner(squared, _COS)
    odd = (quadrant & 1).differs(0)
    cos = select(odd, sine, cosine)
    sin = select(odd, cosine, sine)
    cos = select(((quadrant + 1) & 2).differs(0), -cos, cos)
    sin = select((quadrant & 2).differs(0), -sin, sin)
    return cos.to(F32), sin.to(F32)


def _horner(x: Value, coefficients: Sequence[float]) -> Value:
    total = constant(x.type, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
