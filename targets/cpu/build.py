"""A small expression layer over MLIR, so that a kernel generator reads like its algorithm.

A `Value` is an SSA value with Python operators; a `Pointer` loads and stores; `loop`, `when` and
`choose` are the control flow.  A Python number stands for a constant of the other operand's type,
and a scalar beside a vector is broadcast.  Integers are signless: `<`, `//`, `%` and `to` take
them as signed, `>>` shifts in zeros; the other reading has a name (`below`, `to_unsigned`,
`shift_right_signed`).  Comparisons for equality are `equals` and `differs`.

Floating-point operations carry no fast-math flags and reductions are written out as trees, so the
bits of a result depend on the expression alone.
"""

from .expression.control import Loop, choose, loop, when
from .expression.functions import (
    absolute,
    concat,
    fused_multiply_add,
    intrinsic,
    iota,
    maximum,
    minimum,
    narrow_to_bf16,
    reduce,
    reduce_add,
    reduce_max,
    round_half_even,
    select,
    square_root,
    widen_bf16,
)
from .expression.hints import keep_memory_order, opaque
from .expression.memory import TO_FIRST_CACHE, TO_SECOND_CACHE, Pointer, stack_words
from .expression.types import BF16, F16, F32, I1, I8, I16, I32, I64, Type
from .expression.values import Number, Value, constant, shuffle, splat

__all__ = [
    "BF16",
    "F16",
    "F32",
    "I1",
    "I8",
    "I16",
    "I32",
    "I64",
    "TO_FIRST_CACHE",
    "TO_SECOND_CACHE",
    "Loop",
    "Number",
    "Pointer",
    "Type",
    "Value",
    "absolute",
    "choose",
    "concat",
    "constant",
    "fused_multiply_add",
    "intrinsic",
    "iota",
    "keep_memory_order",
    "loop",
    "maximum",
    "minimum",
    "narrow_to_bf16",
    "opaque",
    "reduce",
    "reduce_add",
    "reduce_max",
    "round_half_even",
    "select",
    "shuffle",
    "splat",
    "square_root",
    "stack_words",
    "when",
    "widen_bf16",
]
