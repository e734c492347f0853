"""The door of the CPU target for packages that extend it: lowering an operation, packing a weight.

A lowering is a function of a `Context` and the operation; it makes the buffer of the result with
`new_result` and adds a launch with `launch_rows`.  A kernel is composed of the parts that Ingot's
own are made of: `rows_of`, `each_group`, the functions of `ACTIVATION_FUNCTIONS`, the sinks.  A
`Packing` lays a weight out in blocks of 16 outputs, and unpacks a block again.
"""

from .build import (
    BF16,
    F16,
    F32,
    I1,
    I8,
    I16,
    I32,
    I64,
    Pointer,
    Type,
    Value,
    absolute,
    concat,
    constant,
    intrinsic,
    iota,
    loop,
    maximum,
    minimum,
    reduce_add,
    reduce_max,
    round_half_even,
    select,
    shuffle,
    splat,
    square_root,
    when,
)
from .kernel import Arguments, Kernel, Slot
from .kernels.activation_functions import ACTIVATION_FUNCTIONS, erf, exp, tanh
from .kernels.elementwise_groups import Group, each_group, fold_groups, rows_of
from .kernels.rounding import SINKS, SinkKind, strided_slots, symbol
from .levels import LEVELS, Level, level_named
from .lowering.arguments import Argument, View, integer, read, step_input, stride, write
from .lowering.context import Context
from .lowering.rowwise import launch_rows, new_result, result, sink_of, source
from .lowering.weights import add_matrix, add_plain, add_vector
from .packing import LANES, Packing, Weight

__all__ = [
    "ACTIVATION_FUNCTIONS",
    "BF16",
    "F16",
    "F32",
    "I1",
    "I8",
    "I16",
    "I32",
    "I64",
    "LANES",
    "LEVELS",
    "SINKS",
    "Argument",
    "Arguments",
    "Context",
    "Group",
    "Kernel",
    "Level",
    "Packing",
    "Pointer",
    "SinkKind",
    "Slot",
    "Type",
    "Value",
    "View",
    "Weight",
    "absolute",
    "add_matrix",
    "add_plain",
    "add_vector",
    "concat",
    "constant",
    "each_group",
    "erf",
    "exp",
    "fold_groups",
    "integer",
    "intrinsic",
    "iota",
    "launch_rows",
    "level_named",
    "loop",
    "maximum",
    "minimum",
    "new_result",
    "read",
    "reduce_add",
    "reduce_max",
    "result",
    "round_half_even",
    "rows_of",
    "select",
    "shuffle",
    "sink_of",
    "source",
    "splat",
    "square_root",
    "step_input",
    "stride",
    "strided_slots",
    "symbol",
    "tanh",
    "when",
    "write",
]
