"""Buffers that live at the same time never share a byte; barriers stand wherever data flows."""

import random

from ingot.targets.cpu.memory import (
    Access,
    BufferRequest,
    Effects,
    arena_lower_bound,
    place_barriers,
    place_buffers,
)
from ingot.targets.cpu.plan import Launch, Units, Variant


def launch(name: str) -> Launch:
    return Launch(name, (Variant(None, (name,)),), "tokens", Units("per_row", 1), 1, ())


def whole(resource: int | str) -> Access:
    return Access(resource, 0, 1 << 30)


def chain(*steps: tuple[list[Access], list[Access]]) -> list[Effects]:
    return [Effects(tuple(reads), tuple(writes)) for reads, writes in steps]


def barriers(effects: list[Effects]) -> list[bool]:
    placed, _ = place_barriers([launch(f"l{i}") for i in range(len(effects))], effects)
    return [one.barrier for one in placed]


def test_a_reader_waits_for_its_writer() -> None:
    assert barriers(chain(([], [whole(0)]), ([whole(0)], [whole(1)]))) == [True, True]


def test_independent_launches_run_without_a_barrier_between_them() -> None:
    effects = chain(
        ([whole(0)], [whole(1)]), ([whole(0)], [whole(2)]), ([whole(1), whole(2)], [whole(3)])
    )
    assert barriers(effects) == [False, True, True]


def test_a_launch_waits_for_any_launch_of_the_open_phase() -> None:
    effects = chain(([], [whole(0)]), ([], [whole(1)]), ([whole(0)], [whole(2)]))
    assert barriers(effects) == [False, True, True]


def test_disjoint_columns_of_a_buffer_do_not_depend_on_each_other() -> None:
    left, right = Access(0, 0, 64), Access(0, 64, 128)
    assert barriers(chain(([left], [left]), ([right], [right]))) == [False, True]
    assert barriers(chain(([left], [left]), ([whole(0)], [right]))) == [True, True]


def test_writing_what_the_phase_still_reads_needs_a_barrier() -> None:
    assert barriers(chain(([whole(0)], [whole(1)]), ([], [whole(0)]))) == [True, True]


def test_the_kv_cache_of_a_layer_orders_its_launches() -> None:
    effects = chain(([whole(0)], [whole("kv0")]), ([whole("kv0")], [whole(1)]))
    assert barriers(effects) == [True, True]
    effects = chain(([whole(0)], [whole("kv0")]), ([whole("kv1")], [whole(1)]))
    assert barriers(effects) == [False, True]


def test_a_chain_of_equal_buffers_needs_two_places() -> None:
    effects = chain(*[([whole(i)], [whole(i + 1)]) for i in range(9)])
    requests = [BufferRequest(f"b{i}", "tokens", 64) for i in range(10)]
    _, phases = place_barriers([launch(f"l{i}") for i in range(9)], effects)
    buffers = place_buffers(requests, effects, phases)
    assert max(b.offset_bytes + b.row_bytes for b in buffers) == 128


def test_launches_of_one_phase_never_share() -> None:
    effects = chain(([], [whole(0)]), ([], [whole(1)]), ([whole(1)], [whole(2)]))
    requests = [BufferRequest(f"b{i}", "tokens", 64) for i in range(3)]
    _, phases = place_barriers([launch(f"l{i}") for i in range(3)], effects)
    buffers = place_buffers(requests, effects, phases)
    assert buffers[0].offset_bytes != buffers[1].offset_bytes


def test_a_kept_buffer_is_never_overwritten() -> None:
    effects = chain(([], [whole(0)]), ([], [whole(1)]), ([whole(1)], [whole(2)]))
    requests = [BufferRequest(f"b{i}", "tokens", 64) for i in range(3)]
    buffers = place_buffers(requests, effects, [0, 1, 2], kept=(0,))
    assert len({b.offset_bytes for b in buffers}) == 3


def test_random_programs_never_overlap_and_stay_near_the_bound() -> None:
    generator = random.Random(1)
    for _ in range(50):
        count = generator.randint(2, 30)
        requests = [
            BufferRequest(f"b{i}", "tokens", 64 * generator.randint(1, 40)) for i in range(count)
        ]
        effects = chain(
            *[
                ([whole(j) for j in generator.sample(range(i), min(i, 2))], [whole(i)])
                for i in range(count)
            ]
        )
        _, phases = place_barriers([launch(f"l{i}") for i in range(count)], effects)
        buffers = place_buffers(requests, effects, phases)
        lives = {
            i: {p for p, e in zip(phases, effects, strict=True)
                if whole(i) in (*e.reads, *e.writes)}
            for i in range(count)
        }  # fmt: skip
        for i in range(count):
            for j in range(i):
                meet = min(lives[i]) <= max(lives[j]) and min(lives[j]) <= max(lives[i])
                apart = (
                    buffers[i].offset_bytes + buffers[i].row_bytes <= buffers[j].offset_bytes
                    or buffers[j].offset_bytes + buffers[j].row_bytes <= buffers[i].offset_bytes
                )
                assert apart or not meet
        size = max(b.offset_bytes + b.row_bytes for b in buffers)
        bound = arena_lower_bound(dict(enumerate(requests)), effects, phases)
        assert bound <= size <= 2 * bound
