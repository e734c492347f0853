"""Activations rounded for integer kernels, as floats: what they are worth in an exact product."""

from ingot.ir import ACTIVATION_GROUP
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array


def rounded(x: Array) -> Array:
    """Return x as `int8-act` holds it: every group of 32 columns rounded to 127 steps."""
    rows, columns = x.shape
    groups = hlo.pad(x, 1, -columns % ACTIVATION_GROUP).reshape(rows, -1, ACTIVATION_GROUP)
    scales = hlo.absolute(groups).max() / 127.0
    divisors = hlo.where(scales.equals(0.0), 1.0, scales)
    codes = hlo.round_half_even(groups / divisors)
    return (codes * scales).reshape(rows, -1)[:, :columns]
