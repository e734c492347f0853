"""What a linear kernel is specialised to, and the slots that it reads."""

from dataclasses import dataclass

from ingot.targets.cpu.build import F32, Pointer, Value
from ingot.targets.cpu.kernel import Arguments, Slot
from ingot.targets.cpu.kernels.rounding import SinkKind, row_bytes_of
from ingot.targets.cpu.packing import GROUP, LANES, IntegerLayout, Packing, packing_named

FLOATS = F32.x(LANES)


@dataclass(frozen=True)
class LinearShape:
    """`packing` of the weights, their `k`, and whether there is a bias.

    `pairs`: the activations are rounded to `bf16-act`, as bfloat16 weights can have them.
    """

    packing_name: str
    k: int
    bias: bool
    pairs: bool = False

    @property
    def packing(self) -> Packing:
        """The layout of the weights."""
        return packing_named(self.packing_name)

    @property
    def is_integer(self) -> bool:
        """Whether the activations are rounded to `int8-act`."""
        return self.packing.layout is not None

    @property
    def layout(self) -> IntegerLayout:
        """What a block of integer weights holds."""
        assert self.packing.layout is not None
        return self.packing.layout

    @property
    def groups(self) -> int:
        """Groups of 32 along K, the last perhaps short."""
        return -(-self.k // GROUP)

    @property
    def panel_bytes(self) -> int:
        """Bytes of the weights of 16 outputs."""
        return self.packing.panel_bytes(self.k)

    @property
    def row_bytes(self) -> int:
        """Bytes from one row of activations to the next."""
        return row_bytes_of(self.activations, self.k)

    @property
    def activations(self) -> SinkKind:
        """How the rows of x are stored."""
        if self.is_integer:
            return "rounded"
        return "bf16" if self.pairs else "float"

    @property
    def slots(self) -> tuple[Slot, ...]:
        """`y_stride` is in bytes; `bias` is float32, padded to 16 outputs."""
        bias = (Slot("bias"),) if self.bias else ()
        strides = (Slot("y_stride", "integer"), Slot("rows", "integer"))
        return (Slot("x"), Slot("weights"), *bias, Slot("y"), *strides)


@dataclass(frozen=True, eq=False)
class Output:
    """Where the results of one panel go."""

    y: Pointer
    stride: Value
    scale: Value | None
    bias: Value | None

    def finished(self, sums: Value) -> Value:
        """Return results: the sums, times the scale, plus the bias."""
        if self.scale is not None:
            sums = sums * self.scale
        return sums if self.bias is None else sums + self.bias

    def store(self, row: Value | int, sums: Value) -> None:
        """Store the 16 results of a row."""
        self.row(row).store(self.finished(sums))

    def row(self, row: Value | int) -> Pointer:
        """Return the address of a row's results."""
        return self.y.at(self.stride * row)


def output_of(shape: LinearShape, arguments: Arguments, panel: Value) -> Output:
    """Return the output of a panel, with its bias and its scales loaded."""
    offset = panel * (4 * LANES)
    bias = arguments.pointer("bias").load(FLOATS, offset) if shape.bias else None
    scale = None
    if shape.packing.tail_bytes:
        tail = shape.panel_bytes - shape.packing.tail_bytes
        scale = arguments.pointer("weights").load(FLOATS, panel * shape.panel_bytes + tail)
    return Output(arguments.pointer("y").at(offset), arguments.integer("y_stride"), scale, bias)
