"""Activations rounded for integer kernels: as floats that say the same, and as codes."""

from ingot.ir import ACTIVATION, Encoding
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array


def rounded(x: Array, encoding: Encoding = ACTIVATION) -> Array:
    """Return x as an encoding of activations holds it: every group rounded to 127 steps."""
    rows, columns = x.shape
    size = encoding.group_size(columns)
    codes, scales = row_codes(hlo.pad(x, 1, -columns % size).reshape(-1, size))
    return (codes * scales).reshape(rows, -1)[:, :columns]


def row_codes(x: Array) -> tuple[Array, Array]:
    """Return x `[rows, K]` as whole numbers from -127 to 127, still floats, and scales `[rows, 1]`.

    What has been rounded comes back as it is.
    """
    scales = hlo.absolute(x).max() / 127.0
    divisors = hlo.where(scales.equals(0.0), 1.0, scales)
    return hlo.round_half_even(x / divisors), scales
