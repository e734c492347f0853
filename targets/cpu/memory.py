"""Memory planning: which launches may overlap, and where each buffer lies in the arena.

Launches between two barriers form a *phase*: nothing in it depends on anything else in it.  A
buffer lives from the phase that first touches it to the one that last does; buffers whose lives do
not meet share bytes.  Since lives are counted in phases, sharing never adds a dependence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .plan import Buffer, Launch, Rows


@dataclass(frozen=True)
class Access:
    """What a launch reads or writes: columns [begin, end) in bytes of each row of a resource.

    `resource` is a buffer's number, or a name for what is not a buffer (a layer's KV cache).
    """

    resource: int | str
    begin: int
    end: int

    def meets(self, other: "Access") -> bool:
        """Whether two accesses touch a common byte."""
        return self.resource == other.resource and self.begin < other.end and other.begin < self.end


@dataclass(frozen=True)
class Effects:
    """All that one launch reads and writes."""

    reads: tuple[Access, ...]
    writes: tuple[Access, ...]

    def depends_on(self, earlier: "Effects") -> bool:
        """Whether this launch must wait for `earlier`: a common byte that either writes."""
        return (
            _any_meets(self.reads, earlier.writes)
            or _any_meets(self.writes, earlier.reads)
            or _any_meets(self.writes, earlier.writes)
        )


@dataclass(frozen=True)
class BufferRequest:
    """A buffer before it has a place."""

    name: str
    rows: Rows
    row_bytes: int


def place_barriers(
    launches: Sequence[Launch], effects: Sequence[Effects]
) -> tuple[tuple[Launch, ...], tuple[int, ...]]:
    """Return the launches with `barrier` set only where the next one depends on its phase,
    and the phase of each launch.
    """
    assert len(launches) == len(effects)
    placed: list[Launch] = []
    phases: list[int] = []
    phase, members = 0, list[Effects]()
    for index, launch in enumerate(launches):
        members.append(effects[index])
        phases.append(phase)
        following = effects[index + 1] if index + 1 < len(launches) else None
        needed = following is None or any(following.depends_on(member) for member in members)
        placed.append(replace(launch, barrier=needed))
        if needed:
            phase, members = phase + 1, []
    return tuple(placed), tuple(phases)


def place_buffers(
    requests: Sequence[BufferRequest],
    effects: Sequence[Effects],
    phases: Sequence[int],
    kept: Sequence[int] = (),
) -> tuple[Buffer, ...]:
    """Give every buffer an offset per row of capacity; largest first, each as low as it fits.

    `kept` buffers (the logits) live until the end.  A buffer that no launch touches gets offset 0.
    """
    lives = _lives(effects, phases)
    last = max(phases, default=0)
    for number in kept:
        lives[number] = (lives[number][0], last)
    offsets: dict[int, int] = {}
    order = sorted(lives, key=lambda number: (-requests[number].row_bytes, number))
    for number in order:
        neighbours = sorted(
            (offsets[other], offsets[other] + requests[other].row_bytes)
            for other in offsets
            if _lives_meet(lives[number], lives[other])
        )
        offsets[number] = _lowest_gap(neighbours, requests[number].row_bytes)
    return tuple(
        Buffer(request.name, request.rows, request.row_bytes, offsets.get(number, 0))
        for number, request in enumerate(requests)
    )


def _any_meets(left: Sequence[Access], right: Sequence[Access]) -> bool:
    return any(a.meets(b) for a in left for b in right)


def _lives(effects: Sequence[Effects], phases: Sequence[int]) -> dict[int, tuple[int, int]]:
    lives: dict[int, tuple[int, int]] = {}
    for effect, phase in zip(effects, phases, strict=True):
        for access in (*effect.reads, *effect.writes):
            if isinstance(access.resource, int):
                first, _ = lives.get(access.resource, (phase, phase))
                lives[access.resource] = (first, phase)
    return lives


def _lives_meet(left: tuple[int, int], right: tuple[int, int]) -> bool:
    return left[0] <= right[1] and right[0] <= left[1]


def _lowest_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    offset = 0
    for begin, end in taken:
        if begin - offset >= size:
            break
        offset = max(offset, end)
    return offset


def arena_lower_bound(
    requests: Mapping[int, BufferRequest], effects: Sequence[Effects], phases: Sequence[int]
) -> int:
    """Bytes per row that no placement can undercut: the fullest phase."""
    lives = _lives(effects, phases)
    return max(
        (
            sum(
                requests[number].row_bytes
                for number, (first, end) in lives.items()
                if first <= phase <= end
            )
            for phase in set(phases)
        ),
        default=0,
    )
