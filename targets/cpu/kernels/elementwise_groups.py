"""Rows of float32 features, cut into groups of 32 that a vector value holds.

All row-wise kernels go through a row group by group, in order; the group is also the unit that
shares a scale when a row is rounded.  The last group may be short: its missing lanes read as zero
and are not written, so a row may be a slice of a wider one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ingot.targets.cpu.build import F32, I64, Pointer, Value, constant, loop, select
from ingot.targets.cpu.kernel import Arguments

from .elementwise_lanes import lane_mask, load_lanes, store_lanes

GROUP = 32
VECTOR = F32.x(GROUP)
GROUP_BYTES = 4 * GROUP


@dataclass(frozen=True, eq=False)
class Group:
    """The group at `index` of a row; `lanes` of its 32 features exist."""

    index: Value
    lanes: int = GROUP

    def load(self, row: Pointer) -> Value:
        """Return the 32 features of the row at `row`, zeros beyond its end."""
        return load_lanes(row.at(self.index * GROUP_BYTES), VECTOR, self.lanes)

    def store(self, row: Pointer, values: Value) -> None:
        """Write the features that exist to the row at `row`."""
        store_lanes(row.at(self.index * GROUP_BYTES), values, self.lanes)

    def keep(self, values: Value) -> Value:
        """Return `values` with zeros beyond the end of the row."""
        if self.lanes == GROUP:
            return values
        return select(lane_mask(self.lanes, GROUP), values, 0.0)


def each_group(features: int, body: Callable[[Group], None]) -> None:
    """Build `body` for every group of a row of `features`, in order."""

    def step(group: Group, _: Sequence[Value]) -> Sequence[Value]:
        body(group)
        return ()

    fold_groups(features, (), step)


def fold_groups(
    features: int,
    initial: Sequence[Value],
    body: Callable[[Group, Sequence[Value]], Sequence[Value]],
) -> tuple[Value, ...]:
    """Build a fold over the groups of a row; `body` maps carried values to the next ones."""
    whole, rest = divmod(features, GROUP)
    carried = tuple(initial)
    if whole:
        with loop(0, whole, carried=carried) as groups:
            groups.carry(*body(Group(groups.index), groups.carried))
        carried = groups.results
    if rest:
        carried = tuple(body(Group(constant(I64, whole), rest), carried))
    return carried


@dataclass(frozen=True, eq=False)
class Rows:
    """Addresses of one row of the buffers that a kernel's slots name."""

    arguments: Arguments
    index: Value

    def row(self, name: str) -> Pointer:
        """Return the address of this row in the buffer of slots `name` and `name_stride`."""
        return self.row_at(name, self.index)

    def row_at(self, name: str, index: Value) -> Pointer:
        """Return the address of another row of that buffer."""
        stride = self.arguments.integer(f"{name}_stride")
        return self.arguments.pointer(name).at(index * stride)


@contextmanager
def rows_of(arguments: Arguments) -> Iterator[Rows]:
    """Build a loop over the rows of this thread's share; a unit of work is a row."""
    with loop(arguments.begin, arguments.end) as share:
        yield Rows(arguments, share.index)
