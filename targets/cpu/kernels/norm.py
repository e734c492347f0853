"""RMS and layer normalisation of rows, alone or fused with the addition of a residual.

Sums over a row run over its groups of 32 features in order, lane by lane, and the 32 lanes are
then added as a tree: the same bits for a row wherever it stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ingot.targets.cpu.build import Pointer, Value, constant, loop, reduce_add, splat, square_root
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import Level

from .elementwise_groups import GROUP, VECTOR, Group, each_group, fold_groups, rows_of
from .rounding import SINKS, SinkKind, group_bytes_of, strided_slots, symbol

NormKind = Literal["rms", "layer"]


@dataclass(frozen=True)
class Norm:
    """What a norm kernel computes on rows of `heads` heads of `features` features each."""

    kind: NormKind
    features: int
    eps: float
    heads: int = 1
    bias: bool = False
    residual: bool = False
    sink: SinkKind = "float"


def rms_norm_kernel(
    features: int, eps: float, *, heads: int = 1, residual: bool = False, sink: SinkKind = "float"
) -> Kernel:
    """`lm.rms_norm` and, with `residual`, `lm.add_rms_norm`.  A unit is a row.

    `features` are those that are normalised together, a head's where `heads` is not 1; heads lie
    side by side in a row and share w `[features]` (float32).  Rows of heads can be rounded only if
    32 divides `features`.

    Slots: x, x_stride, (residual, residual_stride, sum, sum_stride,) y, y_stride, w.  The rows of
    sum = x + residual may be those of x or of residual, and y those of x.
    """
    assert sink == "float" or heads == 1 or features % GROUP == 0
    return _kernel(Norm("rms", features, eps, heads, False, residual, sink))


def layer_norm_kernel(
    features: int,
    eps: float,
    *,
    bias: bool,
    heads: int = 1,
    residual: bool = False,
    sink: SinkKind = "float",
) -> Kernel:
    """`lm.layer_norm` and, with `residual`, `lm.add_layer_norm`.  A unit is a row.

    Slots as of `rms_norm_kernel`, and b after w where there is a `bias`.
    """
    assert sink == "float" or heads == 1 or features % GROUP == 0
    return _kernel(Norm("layer", features, eps, heads, bias, residual, sink))


def _kernel(norm: Norm) -> Kernel:
    buffers = ("x", "residual", "sum", "y") if norm.residual else ("x", "y")
    weights = (Slot("w"), Slot("b")) if norm.bias else (Slot("w"),)
    options = (("add" if norm.residual else ""), ("bias" if norm.bias else ""), norm.sink)
    name = symbol(f"{norm.kind}_norm", norm.heads, norm.features, norm.eps, *options)
    slots = (*strided_slots(*buffers), *weights)
    return Kernel(name, slots, partial(_body, norm), bf16=norm.sink == "bf16")


def _body(norm: Norm, level: Level, arguments: Arguments) -> None:
    with rows_of(arguments) as rows:
        x, y = rows.row("x"), rows.row("y")
        if norm.residual:
            residual, total = rows.row("residual"), rows.row("sum")
            each_group(
                norm.heads * norm.features,
                lambda group: group.store(total, group.load(x) + group.load(residual)),
            )
            x = total
        if norm.heads == 1:
            _normalise(norm, level, arguments, x, y)
            return
        head_bytes = norm.features * group_bytes_of(level, norm.sink) // GROUP
        with loop(0, norm.heads) as heads:
            source = x.at(heads.index * (4 * norm.features))
            _normalise(norm, level, arguments, source, y.at(heads.index * head_bytes))


def _normalise(norm: Norm, level: Level, arguments: Arguments, x: Pointer, y: Pointer) -> None:
    count = float(norm.features)
    mean = _sum_of(norm.features, level, x, None) / count if norm.kind == "layer" else None
    variance = _sum_of(norm.features, level, x, mean, squared=True) / count
    factor = 1.0 / square_root(variance + norm.eps)
    w = arguments.pointer("w")
    sink = SINKS[norm.sink]

    def write(group: Group) -> None:
        values = group.load(x)
        if mean is not None:
            values = values - splat(mean, GROUP)
        values = values * splat(factor, GROUP) * group.load(w)
        if norm.bias:
            values = values + group.load(arguments.pointer("b"))
        sink(level, y, group, values)

    each_group(norm.features, write)


def _sum_of(
    features: int, level: Level, x: Pointer, mean: Value | None, *, squared: bool = False
) -> Value:
    """Return the sum over a row of x, or of (x - mean)²."""

    def add(group: Group, carried: Sequence[Value]) -> Sequence[Value]:
        values = group.load(x)
        if mean is not None:
            values = group.keep(values - splat(mean, GROUP))
        if squared:
            return [level.fma(values, values, carried[0])]
        return [carried[0] + values]

    (lanes,) = fold_groups(features, [constant(VECTOR, 0.0)], add)
    return reduce_add(lanes)
