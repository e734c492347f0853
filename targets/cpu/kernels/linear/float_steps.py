"""Steps along K of float linears: which weights and activations meet, and in which order.

Sums of float activations take k in order.  Those of `bf16-act` take the odd k of a pair before the
even one, as the instruction for pairs does; levels without it widen weights to float32 and
find the activations widened.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ingot.targets.cpu.build import F32, I32, Pointer, Value, splat
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import LANES

from .shape import FLOATS, LinearShape

LINE = 64
_WORDS = I32.x(LANES)


@dataclass(frozen=True)
class Step:
    """What is added to a sum at once: `span` of K, of which a row of activations has `x_bytes`.

    Weights are `vectors` of 64 bytes: one for each k in their order, or with `packed` one of pairs.
    """

    span: int
    packed: bool = False

    @property
    def vectors(self) -> int:
        """Vectors of weights."""
        return 1 if self.packed else self.span

    @property
    def x_bytes(self) -> int:
        """Bytes of activations."""
        return 4 * self.vectors

    def line(self, panel: Pointer, offset: Value | int) -> list[Value]:
        """Return the weights of a packed line of 16 outputs; one of bfloat16 is widened or kept."""
        if self.packed:
            return [panel.load(_WORDS, offset, align=LINE)]
        if self.span == 1:
            return [panel.load(FLOATS, offset, align=LINE)]
        pairs = panel.load(_WORDS, offset, align=LINE)
        return [word.bitcast(FLOATS) for word in (pairs << 16, pairs & 0xFFFF0000)]

    def load(self, block: Pointer, offset: Value | int) -> list[Value]:
        """Return the weights of a step from where they are as they are multiplied."""
        kind = _WORDS if self.packed else FLOATS
        return [block.load(kind, offset + LINE * i, align=LINE) for i in range(self.vectors)]

    def add(
        self,
        level: Level,
        shape: LinearShape,
        panels: Sequence[Sequence[Value]],
        x: Pointer,
        sums: Sequence[Value],
    ) -> list[Value]:
        """Add the products of all panels and rows to the sums, which are row by row."""
        totals = list(sums)
        order = reversed(range(self.vectors)) if shape.pairs else range(self.vectors)
        places = list(order)
        for row in range(len(sums) // len(panels)):
            for place in places:
                at = row * shape.row_bytes + 4 * place
                activation = self._activation(x, at)
                for i, weights in enumerate(panels):
                    total = totals[row * len(panels) + i]
                    totals[row * len(panels) + i] = (
                        level.dot_bf16(total, weights[place], activation)
                        if self.packed
                        else level.fma(activation, weights[place], total)
                    )
        return totals

    def _activation(self, x: Pointer, offset: int) -> Value:
        return splat(x.load(I32 if self.packed else F32, offset), LANES)


def step_of_line(level: Level, shape: LinearShape) -> Step:
    """Return the step that one packed line of weights makes."""
    return Step(shape.packing.span, packed=shape.pairs and level.bf16_dot)


def step_of_block(level: Level, shape: LinearShape) -> Step:
    """Return the steps through a block of weights that many rows read: widened, or as it is."""
    if shape.pairs:
        return step_of_line(level, shape)
    return Step(1)
