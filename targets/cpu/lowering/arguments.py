"""What a launch passes to a kernel: a slot, and which bytes of which resource it touches."""

from dataclasses import dataclass

from ingot.targets.cpu.memory import Access
from ingot.targets.cpu.plan import (
    BufferSlot,
    FieldSlot,
    InputSlot,
    IntSlot,
    KvSlot,
    Rows,
    Slot,
    StateSlot,
    StepInput,
    WeightSlot,
)


@dataclass(frozen=True)
class View:
    """Columns of an activation: where they begin in a buffer's rows and how far rows are apart.

    A slice is a view of the buffer that it slices.  `rounded` views are in the layout of an
    encoding, whose columns cannot be addressed one by one.
    """

    buffer: int
    rows: Rows
    columns: int
    stride_bytes: int
    begin_bytes: int = 0
    rounded: bool = False

    @property
    def num_bytes(self) -> int:
        """Bytes of a row that hold the view's columns."""
        return self.stride_bytes if self.rounded else 4 * self.columns

    def slice(self, offset: int, size: int) -> "View":
        """Return the columns offset … offset + size."""
        assert not self.rounded and offset + size <= self.columns
        begin = self.begin_bytes + 4 * offset
        return View(self.buffer, self.rows, size, self.stride_bytes, begin)

    def access(self) -> Access:
        """Return what reading or writing the view touches.

        A kernel that writes whole vectors may also touch the padding behind the last column of the
        buffer, which belongs to nobody else.
        """
        return Access(self.buffer, self.begin_bytes, self.begin_bytes + self.num_bytes)


@dataclass(frozen=True)
class Argument:
    """A slot with its effects."""

    slot: Slot
    reads: tuple[Access, ...] = ()
    writes: tuple[Access, ...] = ()


def read(view: View) -> Argument:
    """Pass a view that the kernel reads."""
    return Argument(BufferSlot(view.buffer, view.begin_bytes), reads=(view.access(),))


def write(view: View) -> Argument:
    """Pass a view that the kernel writes."""
    return Argument(BufferSlot(view.buffer, view.begin_bytes), writes=(view.access(),))


def update(view: View) -> Argument:
    """Pass a view that the kernel changes in place."""
    access = (view.access(),)
    return Argument(BufferSlot(view.buffer, view.begin_bytes), reads=access, writes=access)


def stride(view: View) -> Argument:
    """Pass the distance of a view's rows, in bytes."""
    return Argument(IntSlot(view.stride_bytes))


def integer(value: int) -> Argument:
    """Pass a constant."""
    return Argument(IntSlot(value))


def number_of(rows: Rows) -> Argument:
    """Pass how many tokens or rows the step has."""
    return Argument(FieldSlot(rows))


def step_input(name: StepInput) -> Argument:
    """Pass an array of the step."""
    return Argument(InputSlot(name))


def weight(name: str, byte_offset: int = 0) -> Argument:
    """Pass a packed weight."""
    return Argument(WeightSlot(name, byte_offset))


def read_cache(index: int) -> Argument:
    """Pass a pool of the KV cache to a kernel that reads it."""
    return Argument(KvSlot(index), reads=(Access(f"kv {index}", 0, 1),))


def update_state(index: int) -> Argument:
    """Pass a pool of states to a kernel that goes on from them."""
    access = (Access(f"state {index}", 0, 1),)
    return Argument(StateSlot(index), reads=access, writes=access)


def write_cache(index: int) -> Argument:
    """Pass a pool of the KV cache to a kernel that writes it."""
    return Argument(KvSlot(index), writes=(Access(f"kv {index}", 0, 1),))
