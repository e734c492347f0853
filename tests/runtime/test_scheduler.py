"""The scheduler and the page pool: properties under random arrivals, without any device."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.runtime.engine.pages import ROOT_HASH, PagePool, page_hash
from ingot.runtime.engine.request import Request
from ingot.runtime.engine.scheduler import Scheduler
from ingot.runtime.executor import Limits
from ingot.runtime.sampling import SamplingParams


def limits(**changes: int) -> Limits:
    values = {
        "vocab_size": 50,
        "max_positions": 100,
        "page_tokens": 4,
        "num_pages": 8,
        "max_step_tokens": 16,
    }
    return Limits(**(values | changes))


def request(number: int, length: int, output: int = 4, first: int = 0) -> Request:
    return Request(
        request_id=number,
        tokens=[(first + index) % 50 for index in range(length)],
        params=SamplingParams(),
        sink=lambda output: None,
        max_length=length + output,
        seed=0,
    )


def run(scheduler: Scheduler) -> list[tuple[int, int, int]]:
    """Run one step, sampling token 1 where a request is complete; end requests at their length."""
    pieces = scheduler.schedule()
    shape = [(piece.request.request_id, piece.start, piece.count) for piece in pieces]
    completed = [piece.request for piece in pieces if piece.completes]
    scheduler.advance(pieces)
    for item in completed:
        item.tokens.append(1)
        if len(item.tokens) == item.max_length:
            scheduler.remove(item)
    scheduler.check()
    return shape


def test_prompts_are_prefilled_in_chunks_behind_decoding() -> None:
    scheduler = Scheduler(limits(num_pages=32), 8)
    scheduler.add(request(1, 3))
    scheduler.add(request(2, 30, first=10))
    assert run(scheduler) == [(1, 0, 3), (2, 0, 13)]
    assert run(scheduler) == [(1, 3, 1), (2, 13, 15)]
    assert run(scheduler) == [(1, 4, 1), (2, 28, 2)]
    assert run(scheduler) == [(1, 5, 1), (2, 30, 1)]


def test_a_step_has_at_most_its_tokens_and_its_sequences() -> None:
    scheduler = Scheduler(limits(num_pages=64), max_running=3)
    for number in range(1, 7):
        scheduler.add(request(number, 2, first=number))
    assert [number for number, _, _ in run(scheduler)] == [1, 2, 3]
    assert Scheduler(limits(max_step_tokens=2), max_running=9).max_running == 2


def test_admission_is_first_come_first_served_even_if_a_later_one_would_fit() -> None:
    scheduler = Scheduler(limits(num_pages=8), 8)
    scheduler.add(request(1, 16, first=0))
    scheduler.add(request(2, 24, first=20))
    scheduler.add(request(3, 1, first=40))
    assert [number for number, _, _ in run(scheduler)] == [1]
    assert [number for number, _, _ in run(scheduler)] == [1]


def test_a_full_pool_puts_back_the_youngest_and_it_is_recomputed() -> None:
    scheduler = Scheduler(limits(num_pages=4), 8, reuse_prefixes=False)
    old, young = request(1, 7, output=8), request(2, 7, output=8, first=20)
    scheduler.add(old)
    scheduler.add(young)
    shapes = []
    while not scheduler.idle:
        shapes.append(run(scheduler))
    assert scheduler.num_preemptions == young.num_preemptions >= 1 and old.num_preemptions == 0
    assert len(old.tokens) == len(young.tokens) == 15
    assert any(
        number == 2 and start == 0 and count > 7 for step in shapes for number, start, count in step
    )


def test_a_prompt_takes_over_the_pages_of_one_that_begins_alike() -> None:
    scheduler = Scheduler(limits(num_pages=16), 8)
    first = request(1, 10)
    scheduler.add(first)
    run(scheduler)
    second = request(2, 12)
    scheduler.add(second)
    assert run(scheduler) == [(1, 10, 1), (2, 8, 4)]
    assert second.num_cached == 8 and second.pages[:2] == first.pages[:2]
    assert (scheduler.num_prefix_queries, scheduler.num_prefix_hits) == (22, 8)


def test_of_a_prompt_known_in_full_the_last_token_is_run_all_the_same() -> None:
    scheduler = Scheduler(limits(num_pages=16), 8)
    scheduler.add(request(1, 8, output=1))
    run(scheduler)
    scheduler.add(request(2, 8, output=1))
    assert run(scheduler) == [(2, 4, 4)]


def test_removed_requests_leave_no_page_behind() -> None:
    scheduler = Scheduler(limits(), 1)
    running, waiting = request(1, 8), request(2, 8)
    scheduler.add(running)
    scheduler.add(waiting)
    run(scheduler)
    scheduler.remove(waiting)
    scheduler.remove(running)
    scheduler.check()
    assert scheduler.idle and scheduler.pool.num_held == 0


def test_the_least_recently_used_page_is_evicted_first() -> None:
    pool = PagePool(3)
    hashes = [page_hash(ROOT_HASH, [number]) for number in range(3)]
    pages = pool.allocate(3)
    for page, value in zip(pages, hashes, strict=True):
        pool.publish(page, value)
    for page in pages:
        pool.release([page])
    pool.hold(pool.find_prefix([hashes[0]]))
    pool.release([pages[0]])
    assert pool.allocate(1) == [pages[1]]
    assert pool.find_prefix([hashes[1]]) == [] and pool.find_prefix([hashes[0]]) == [pages[0]]
    pool.check()


def test_the_front_of_a_chain_outlives_its_end() -> None:
    pool = PagePool(2)
    first = page_hash(ROOT_HASH, [1, 2])
    chain = [first, page_hash(first, [3, 4])]
    pages = pool.allocate(2)
    for page, value in zip(pages, chain, strict=True):
        pool.publish(page, value)
    pool.release(pages)
    pool.allocate(1)
    assert pool.find_prefix(chain) == pages[:1]


def test_a_hash_tells_pages_apart_by_what_stands_before_them() -> None:
    assert page_hash(ROOT_HASH, [1, 2]) != page_hash(ROOT_HASH, [2, 1])
    assert page_hash(page_hash(ROOT_HASH, [1]), [2]) != page_hash(page_hash(ROOT_HASH, [3]), [2])


def test_the_check_finds_a_lost_page() -> None:
    pool = PagePool(2)
    pool._free.pop()
    with pytest.raises(AssertionError, match="a page is lost"):
        pool.check()


Arrivals = list[tuple[int, int, int, int]]
ARRIVALS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 28), st.integers(1, 12), st.integers(0, 2)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(
    ARRIVALS,
    st.integers(10, 20),
    st.integers(1, 20),
    st.integers(1, 6),
    st.booleans(),
    st.integers(1, 3),
)
def test_every_request_ends_and_all_pages_come_back(
    arrivals: Arrivals, num_pages: int, budget: int, max_running: int, reuse: bool, groups: int
) -> None:
    scheduler = Scheduler(
        limits(num_pages=num_pages * groups, max_step_tokens=budget, data_groups=groups),
        max_running,
        reuse_prefixes=reuse,
    )
    queue: list[tuple[int, Callable[[], Request]]] = []
    for number, (step, length, output, family) in enumerate(arrivals):
        queue.append((step, lambda n=number, a=length, b=output, f=family: request(n, a, b, f)))
    everything: list[Request] = []
    step = 0
    while queue or not scheduler.idle:
        for _, make in [item for item in queue if item[0] <= step]:
            everything.append(make())
            scheduler.add(everything[-1])
        queue = [item for item in queue if item[0] > step]
        if not scheduler.idle:
            oldest = min(r.request_id for r in (*scheduler.running, *scheduler.waiting))
            shape = run(scheduler)
            assert shape, "no progress"
            assert sum(count for _, _, count in shape) <= budget
            assert len({number for number, _, _ in shape}) == len(shape) <= max_running
            if scheduler.waiting and not scheduler.running:
                assert scheduler.waiting[0].request_id >= oldest
        step += 1
        assert step < 5000, "starved"
    assert all(len(item.tokens) == item.max_length for item in everything)
    assert scheduler.pool.num_held == 0


def test_new_requests_go_where_their_prefix_is_and_else_where_most_pages_are() -> None:
    scheduler = Scheduler(limits(num_pages=16, max_step_tokens=64, data_groups=2), 8)
    assert scheduler.max_length == 32
    first, second, alike = request(1, 9), request(2, 9, first=20), request(3, 9)
    for item in (first, second):
        scheduler.add(item)
    run(scheduler)
    assert (first.group, second.group) == (0, 1)
    scheduler.add(alike)
    assert run(scheduler)[-1] == (3, 8, 1)
    assert alike.group == 0 and alike.pages[:2] == first.pages[:2]
    scheduler.add(other := request(4, 9, first=30))
    run(scheduler)
    assert other.group == 1 and all(page >= 8 for page in other.pages)


def test_the_tokens_of_a_step_are_divided_among_the_groups() -> None:
    scheduler = Scheduler(limits(num_pages=48, max_step_tokens=16, data_groups=2), 8)
    for number, first in ((1, 0), (2, 20), (3, 40)):
        scheduler.add(request(number, 20, output=2, first=first))
    assert run(scheduler) == [(1, 0, 8), (2, 0, 8)]
    assert run(scheduler) == [(1, 8, 8), (2, 8, 8)]
    assert run(scheduler) == [(1, 16, 4), (2, 16, 4), (3, 0, 4)]


def test_a_full_group_is_left_for_one_with_room() -> None:
    scheduler = Scheduler(limits(num_pages=8, max_step_tokens=64, data_groups=2), 8)
    scheduler.add(request(1, 12, output=2))
    scheduler.add(request(2, 6, output=2, first=30))
    run(scheduler)
    scheduler.add(alike := request(3, 8, output=2))
    run(scheduler)
    assert alike.group == 1 and alike.num_cached == 0


def test_requests_are_put_back_inside_the_group_that_is_full() -> None:
    scheduler = Scheduler(limits(num_pages=8, max_step_tokens=64, data_groups=2), 8)
    items = [
        request(1, 7, output=9),
        request(2, 8, output=1, first=20),
        request(3, 3, output=12, first=30),
        request(4, 3, output=12, first=40),
    ]
    for item in items:
        scheduler.add(item)
    run(scheduler)
    assert [item.group for item in items] == [0, 1, 0, 1]
    while not scheduler.num_preemptions:
        run(scheduler)
    assert [item.request_id for item in scheduler.running] == [1, 4]
    assert [item.request_id for item in scheduler.waiting] == [3]
    while not scheduler.idle:
        run(scheduler)
    assert all(len(item.tokens) == item.max_length for item in items)


def test_states_bound_the_running_requests_and_keep_prefixes_apart() -> None:
    scheduler = Scheduler(limits(num_pages=64, state_slots=2), 8)
    for number in (1, 2, 3):
        scheduler.add(request(number, 8))
    run(scheduler)
    assert [one.request_id for one in scheduler.running] == [1, 2]
    assert {one.state_slot for one in scheduler.running} == {0, 1}
    for _ in range(12):
        run(scheduler)
    assert scheduler.idle and scheduler.num_prefix_hits == 0


def test_a_preempted_request_gives_its_slot_back() -> None:
    scheduler = Scheduler(limits(num_pages=4, state_slots=2), 8)
    scheduler.add(request(1, 7, output=8))
    scheduler.add(request(2, 7, output=8, first=20))
    while not scheduler.num_preemptions:
        run(scheduler)
    assert [one.request_id for one in scheduler.running] == [1]
    assert [one.num_computed for one in scheduler.waiting] == [0]
    while not scheduler.idle:
        run(scheduler)
