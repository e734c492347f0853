"""Going through packed float weights: 64-byte lines of 16 outputs by one (f32) or two (bf16) of
K."""

from collections.abc import Callable, Sequence

from ingot.targets.cpu.build import F32, I32, I64, Pointer, Value, constant, loop
from ingot.targets.cpu.packing import LANES

LINE = 64
_WORDS = I32.x(LANES)


def weights_of_line(packing: str, panel: Pointer, offset: Value | int) -> list[Value]:
    """Load the line at `offset` and return the weights of each of its k, as float32."""
    if packing == "f32":
        return [panel.load(F32.x(LANES), offset, align=LINE)]
    pairs = panel.load(_WORDS, offset, align=LINE)
    return [word.bitcast(F32.x(LANES)) for word in (pairs << 16, pairs & 0xFFFF0000)]


def each_line(
    lines: Value | int,
    unroll: int,
    carried: Sequence[Value],
    body: Callable[[Value, int, Sequence[Value]], Sequence[Value]],
) -> Sequence[Value]:
    """Loop over `lines` lines in order: `body(first, count, carried)` does `count`, either
    `unroll` or 1, and returns what is carried on.
    """
    total = lines if isinstance(lines, Value) else constant(I64, lines)
    whole = total // unroll * unroll
    with loop(0, whole, unroll, carried) as main:
        main.carry(*body(main.index, unroll, main.carried))
    with loop(whole, total, 1, main.results) as rest:
        rest.carry(*body(rest.index, 1, rest.carried))
    return rest.results
