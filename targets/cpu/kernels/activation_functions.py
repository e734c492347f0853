"""Elementary functions of float32 vectors, accurate to about two units in the last place.

Polynomials are minimax fits (Remez exchange in 40 digits, coefficients then rounded to float32);
the range of each fit stands beside it.  Every lane computes the same operations, so the bits of a
result depend on the argument and the instruction-set level alone.  NaN gives NaN.
"""

from collections.abc import Callable, Sequence

from ingot.targets.cpu.build import (
    F32,
    I32,
    Value,
    absolute,
    constant,
    maximum,
    minimum,
    round_half_even,
    select,
)
from ingot.targets.cpu.levels import Level

_LOG2_E = 1.4426950408889634
# ln 2 in two parts; the first has 9 significant bits: its product with an exponent is exact.
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.1219444005469057e-4
_ROUNDING, _ROUNDING_BITS = 12582912.0, 0x4B400000
_SQRT_HALF = 0.7071067811865476
_SQRT_HALF_BITS = 0x3F3504F3
_SQRT_2_OVER_PI = 0.7978845608028654

# (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2
_EXP = (
    0.4999999403953552,
    0.1666651964187622,
    0.04166839271783829,
    0.008368780836462975,
    0.0013814467238262296,
)
# (log(1 + r) - r + r^2 / 2) / r^3 for sqrt(1/2) - 1 <= r <= sqrt(2) - 1
_LOG = (
    0.3333333134651184,
    -0.250008225440979,
    0.20001234114170074,
    -0.16623298823833466,
    0.1420154869556427,
    -0.13160571455955505,
    0.12763351202011108,
    -0.07635711133480072,
)
# (2^r - 1) / r for |r| <= 1/2
_EXP2 = (
    0.6931471824645996,
    0.24022647738456726,
    0.05550331994891167,
    0.00961843878030777,
    0.0013399003073573112,
    0.00015353258640971035,
)
# The same for results that are rounded to bfloat16, to a part in 512: off by a part in 9900.
_EXP2_COARSE = (0.693282961845398, 0.2422109991312027, 0.055008914321660995)
# (tanh x - x) / x^3 in x^2 for |x| <= 0.64
_TANH = (
    -0.33333268761634827,
    0.133310928940773,
    -0.05370965600013733,
    0.020538819953799248,
    -0.005591016728430986,
)
# erf(x) / x - 1 in x^2 for |x| <= 1
_ERF = (
    0.12837916612625122,
    -0.3761262595653534,
    0.1128358542919159,
    -0.026853810995817184,
    0.00518832728266716,
    -0.0008010189048945904,
    7.85384836490266e-05,
)
# log erfc(x) for 1 <= x <= 4
_LOG_ERFC = (
    -0.00031247068545781076,
    -1.1272022724151611,
    -0.6379650235176086,
    -0.10325619578361511,
    0.021906472742557526,
    -0.002964005107060075,
    0.0001879715855466202,
)


def polynomial(level: Level, x: Value, coefficients: Sequence[float]) -> Value:
    """Return c0 + c1·x + c2·x² + … by Horner's rule."""
    total = constant(x.type, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = level.fma(total, x, constant(x.type, coefficient))
    return total


def power_of_two(exponents: Value) -> Value:
    """Return 2^n as float32 for i32 n in -126..127."""
    return ((exponents + 127) << 23).bitcast(F32.x(exponents.type.lanes))


def exp(level: Level, x: Value) -> Value:
    """Return e^x; subnormal results and overflow to infinity included."""
    x = maximum(constant(x.type, -104.0), minimum(constant(x.type, 89.0), x))
    n = round_half_even(x * _LOG2_E)
    whole = n.to(F32)
    r = level.fma(whole, constant(x.type, -_LN2_HIGH), x)
    r = level.fma(whole, constant(x.type, -_LN2_LOW), r)
    p = polynomial(level, r, (1.0, 1.0, *_EXP))
    # 2^n leaves the range of float32 at both ends, its two halves do not.
    half = n.shift_right_signed(1)
    return p * power_of_two(half) * power_of_two(n - half)


def log(level: Level, x: Value) -> Value:
    """Return the natural logarithm of normal x > 0."""
    integers = I32.x(x.type.lanes)
    bits = x.bitcast(integers) - _SQRT_HALF_BITS
    exponent = bits.shift_right_signed(23)
    # x = 2^exponent times a mantissa between sqrt(1/2) and sqrt(2).
    mantissa = ((bits & 0x7FFFFF) + _SQRT_HALF_BITS).bitcast(x.type)
    r = mantissa - 1.0
    squared = r * r
    near = level.fma(r * squared, polynomial(level, r, _LOG), squared * -0.5)
    whole = exponent.to(F32)
    low = level.fma(whole, constant(x.type, _LN2_LOW), near)
    return level.fma(whole, constant(x.type, _LN2_HIGH), r + low)


def exp2_not_positive(level: Level, x: Value, *, coarse: bool = False) -> Value:
    """Return 2^x for x <= 0; exactly 1 at 0, exactly 0 below -126.5 and at minus infinity.

    `coarse`: good for results that will be rounded to bfloat16.
    """
    inside = maximum(constant(x.type, -127.0), x)
    # The sum's low bits are the nearest integer, as in `round_half_even`.
    shifted = inside + _ROUNDING
    coefficients = _EXP2_COARSE if coarse else _EXP2
    p = polynomial(level, inside - (shifted - _ROUNDING), (1.0, *coefficients))
    # -127 makes the exponent field 0: the factor is then 0.
    exponent = shifted.bitcast(I32.x(x.type.lanes)) + (127 - _ROUNDING_BITS)
    return p * (exponent << 23).bitcast(x.type)


def tanh(level: Level, x: Value) -> Value:
    """Return tanh x."""
    squared = x * x
    near = level.fma(x * squared, polynomial(level, squared, _TANH), x)
    magnitude = absolute(x)
    far = 1.0 - 2.0 / (exp(level, magnitude + magnitude) + 1.0)
    return select(magnitude < 0.625, near, _with_sign_of(far, x))


def erf(level: Level, x: Value) -> Value:
    """Return the error function of x."""
    squared = x * x
    near = level.fma(x, polynomial(level, squared, _ERF), x)
    magnitude = absolute(x)
    # From 4 on the function is 1 in float32.
    inside = minimum(constant(x.type, 4.0), magnitude)
    far = 1.0 - exp(level, polynomial(level, inside, _LOG_ERFC))
    return select(magnitude < 1.0, near, _with_sign_of(far, x))


def sigmoid(level: Level, x: Value) -> Value:
    """Return 1 / (1 + e^-x)."""
    return 1.0 / (exp(level, -x) + 1.0)


def silu(level: Level, x: Value) -> Value:
    """Return x / (1 + e^-x)."""
    return x / (exp(level, -x) + 1.0)


def gelu(level: Level, x: Value) -> Value:
    """Return x/2 · (1 + erf(x / √2))."""
    return (x * 0.5) * (erf(level, x * _SQRT_HALF) + 1.0)


def gelu_tanh(level: Level, x: Value) -> Value:
    """Return x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))."""
    inner = level.fma(x * x * x, constant(x.type, 0.044715), x) * _SQRT_2_OVER_PI
    return (x * 0.5) * (tanh(level, inner) + 1.0)


def relu(level: Level, x: Value) -> Value:
    """Return max(x, 0)."""
    return maximum(constant(x.type, 0.0), x)


def relu2(level: Level, x: Value) -> Value:
    """Return max(x, 0)²."""
    positive = relu(level, x)
    return positive * positive


def softplus(level: Level, x: Value) -> Value:
    """Return log(1 + e^x), and x itself above 20.

    With u = 1 + e^x rounded, log(u) + (e^x - (u - 1)) / u makes up for the rounding (Kahan).
    """
    inside = minimum(constant(x.type, 20.0), x)
    power = exp(level, inside)
    u = power + 1.0
    value = log(level, u) + (power - (u - 1.0)) / u
    return select(x > 20.0, x, value)


ACTIVATION_FUNCTIONS: dict[str, Callable[[Level, Value], Value]] = {
    function.__name__: function
    for function in (silu, gelu, gelu_tanh, relu, relu2, sigmoid, tanh, softplus)
}
"""The functions that `lm.activation` and `lm.glu` name."""


def _with_sign_of(magnitude: Value, sign: Value) -> Value:
    bits = I32.x(sign.type.lanes)
    signed = magnitude.bitcast(bits) | (sign.bitcast(bits) & (1 << 31))
    return signed.bitcast(sign.type)
