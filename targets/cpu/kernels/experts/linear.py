"""The linears of all experts that have rows, by the kernels of `lm.linear`."""

from functools import partial

from ingot.targets.cpu.build import I32, I64, Pointer, Value, constant, loop, stack_words, when
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot, call_kernel
from ingot.targets.cpu.kernels.linear import KernelVariant, LinearShape, linear_kernels
from ingot.targets.cpu.levels import Level


def expert_linear_kernel(
    packing: str, k: int, experts: int, outputs: int, *, bias: bool, pairs: bool = False
) -> Kernel:
    """One linear, `[outputs, k]`, of each expert on its own rows.

    A unit is a panel of 16 outputs, for all experts: those without rows are not read.  Rows must be
    in the order of their experts, and experts' outputs a multiple of 16.  A kernel may write rows
    behind an expert's last: they are the next one's, which come later, and the buffer's last.

    Slots: x, weights, bias (if there is one), y, y_stride, starts (i32 `[experts + 1]`).
    """
    shape = LinearShape(packing, k, bias, pairs)
    variants = linear_kernels(packing, k, bias=bias, pairs=pairs)
    biases = (Slot("bias"),) if bias else ()
    strides = (Slot("y_stride", "integer"), Slot("starts"))
    slots = (Slot("x"), Slot("weights"), *biases, Slot("y"), *strides)
    suffix = ("_pairs" if pairs else "") + ("_bias" if bias else "")
    name = f"experts_{packing.replace('-', '_')}_k{k}_{experts}x{outputs}{suffix}"
    body = partial(_body, shape=shape, variants=variants, experts=experts, outputs=outputs)
    needs = tuple(variant.kernel for variant in variants)
    return Kernel(name, slots, body, needs, bf16=pairs)


def _body(
    level: Level,
    arguments: Arguments,
    *,
    shape: LinearShape,
    variants: tuple[KernelVariant, ...],
    experts: int,
    outputs: int,
) -> None:
    assert outputs % 16 == 0, f"{outputs} outputs"
    words = stack_words(len(shape.slots))
    starts = arguments.pointer("starts")
    with loop(0, experts) as each:
        first = starts.load(I32, each.index * 4).to(I64)
        count = starts.load(I32, each.index * 4 + 4).to(I64) - first
        with when(count > 0):
            _store_slots(words, arguments, shape, each.index, first, count, outputs)
            smallest = constant(I64, 0)
            for variant in variants:
                fits = count > smallest
                if variant.max_rows is not None:
                    fits = fits & (count <= variant.max_rows)
                    smallest = constant(I64, variant.max_rows)
                with when(fits):
                    share = (arguments.begin, arguments.end, arguments.scratch)
                    call_kernel(variant.kernel, words, *share)


def _store_slots(
    words: Pointer,
    arguments: Arguments,
    shape: LinearShape,
    expert: Value,
    first: Value,
    count: Value,
    outputs: int,
) -> None:
    """Write the slots of an expert's linear, in the order in which its kernels read them."""
    stride = arguments.integer("y_stride")
    panels = outputs // 16
    values: dict[str, Pointer | Value] = {
        "x": arguments.pointer("x").at(first * shape.row_bytes),
        "weights": arguments.pointer("weights").at(expert * (panels * shape.panel_bytes)),
        "y": arguments.pointer("y").at(first * stride),
        "y_stride": stride,
        "rows": count,
    }
    if shape.bias:
        values["bias"] = arguments.pointer("bias").at(expert * (4 * outputs))
    for place, slot in enumerate(shape.slots):
        value = values[slot.name]
        if isinstance(value, Pointer):
            words.store_pointer(value, 8 * place)
        else:
            words.store(value, 8 * place)
