"""StableHLO that reads like numpy: arrays of known shape, their operators, loops and collectives.

The files here are the only ones of the compiler that import jaxlib's MLIR bindings.  An `Array` is
made inside the function that `build` runs; operators take arrays and numbers, and broadcast as
numpy does: shapes are aligned at the right, sizes of 1 stretch.  Types are named as in MLIR: "f32",
"bf16", "i32", "i8", "i4", "i1".
"""

from .array import Array, Number, full
from .collectives import Groups, all_gather, all_reduce, all_to_all, device_number, reduce_scatter
from .functions import (
    absolute,
    arange,
    concatenate,
    constant,
    cos,
    dot,
    exp,
    log,
    log1p,
    maximum,
    minimum,
    order_of,
    pad,
    put,
    put_window,
    round_half_even,
    rsqrt,
    sigmoid,
    sin,
    sqrt,
    take,
    tanh,
    where,
    window,
)
from .program import MAIN, ArrayType, build, loop, named, portable

__all__ = [
    "MAIN",
    "Array",
    "ArrayType",
    "Groups",
    "Number",
    "absolute",
    "all_gather",
    "all_reduce",
    "all_to_all",
    "arange",
    "build",
    "concatenate",
    "constant",
    "cos",
    "device_number",
    "dot",
    "exp",
    "full",
    "log",
    "log1p",
    "loop",
    "maximum",
    "minimum",
    "named",
    "order_of",
    "pad",
    "portable",
    "put",
    "put_window",
    "reduce_scatter",
    "round_half_even",
    "rsqrt",
    "sigmoid",
    "sin",
    "sqrt",
    "take",
    "tanh",
    "where",
    "window",
]
