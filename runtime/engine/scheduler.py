"""Which requests run in the next step, and with how many tokens: policy alone, no device.

Running requests come first, those that decode before those that still prefill, older before
younger; what is left of the step's tokens admits waiting requests in the order of their arrival.  A
request is admitted when the pages of all its present tokens are to be had, and takes them at once;
so only decoding asks for pages later.  Where none is left, the youngest request goes back to the
queue and is recomputed later; an older one is never put back for a younger one.

Where the devices are in groups with pages of their own, a request runs in one group, chosen when it
is admitted; it shares prefixes, and is put back for others, inside that group alone.

Where the model has a state, a running request also holds a slot for it.  A state is that of all
tokens so far: no prefix can be taken over from another request, and what is put back starts anew.
"""

import time
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from ingot.runtime.executor import Limits

from .page_groups import PageGroups
from .pages import PageHash
from .request import Request


@dataclass(frozen=True, slots=True)
class Piece:
    """The next `count` tokens of a request, from `start` on, as part of one step."""

    request: Request
    start: int
    count: int

    @property
    def completes(self) -> bool:
        """Whether the last row is that of the request's last token."""
        return self.start + self.count == len(self.request.tokens)

    @property
    def samples(self) -> bool:
        """Whether a token is sampled from the last row."""
        return self.completes and not self.request.scores and not self.request.whole


class Budget:
    """The tokens that a step has left, altogether and for each data group."""

    def __init__(self, limits: Limits) -> None:
        self._all = limits.max_step_tokens
        self._groups = [limits.group_tokens] * limits.data_groups

    def of(self, group: int) -> int:
        """Tokens that a group may still run."""
        return min(self._all, self._groups[group])

    def take(self, group: int, count: int) -> None:
        """Note that a group runs `count` tokens."""
        self._all -= count
        self._groups[group] -= count


class Scheduler:
    """The queue, the running requests and their pages.

    Progress: whenever a request is running or waiting, a step has at least one piece, because the
    oldest running request of a group may take pages from every other one in it, and any request
    fits the pool of a group alone.
    """

    def __init__(self, limits: Limits, max_running: int, *, reuse_prefixes: bool = True) -> None:
        self.limits = limits
        self.pool = PageGroups(limits.num_pages, limits.data_groups)
        states = limits.state_slots
        self.max_running = min(max_running, limits.max_step_tokens, states or max_running)
        self.reuse_prefixes = reuse_prefixes and not states
        self._free_slots = list(reversed(range(states)))
        self.waiting: list[Request] = []  # both in the order of arrival
        self.running: list[Request] = []
        self.num_preemptions = 0
        self.num_prefix_queries = 0
        self.num_prefix_hits = 0

    @property
    def max_length(self) -> int:
        """The most tokens of one sequence."""
        room = self.pool.pages_per_group * self.limits.page_tokens
        return min(self.limits.max_positions, room)

    @property
    def idle(self) -> bool:
        """Whether no request is left."""
        return not self.waiting and not self.running

    def add(self, request: Request) -> None:
        """Put a new request at the end of the queue."""
        assert request.max_length <= self.max_length
        insort(self.waiting, request, key=_age)

    def remove(self, request: Request) -> None:
        """Forget a request that has ended, wherever it is; what it computed stays cached."""
        if request in self.running:
            self.running.remove(request)
            self._release(request)
        else:
            self.waiting.remove(request)

    def schedule(self) -> list[Piece]:
        """Choose the pieces of the next step; `advance` follows, or `remove` of each of them."""
        pieces: list[Piece] = []
        budget = Budget(self.limits)
        decoding = [request for request in self.running if request.num_pending == 1]
        prefilling = [request for request in self.running if request.num_pending > 1]
        stalled: set[int] = set()
        for request in (*decoding, *prefilling):
            if not request.pages:  # preempted by one before it
                continue
            count = request.next_count(budget.of(request.group))
            if count == 0:
                continue
            if not self._make_room(request, count, pieces):
                stalled.add(request.group)
                continue
            pieces.append(Piece(request, request.num_computed, count))
            budget.take(request.group, count)
        self._admit(pieces, budget, stalled)
        return pieces

    def advance(self, pieces: list[Piece]) -> None:
        """Note that the step was run: its KV entries are there, its full pages may be shared."""
        size = self.limits.page_tokens
        for piece in pieces:
            request = piece.request
            assert request.num_computed == piece.start
            request.num_computed += piece.count
            if self.reuse_prefixes and not request.whole:
                for index in range(piece.start // size, request.num_computed // size):
                    pool = self.pool.pools[request.group]
                    pool.publish(request.pages[index], request.page_hash(index, size))
            request.check(size)

    def extend(self, pieces: Sequence[Piece], steps: int) -> int:
        """Hold pages with which the requests of `pieces` can take up to `steps` steps on end.

        Returns how many steps they suffice for: fewer where pages are scarce, 1 at least; nobody
        loses a page for it.
        """
        while steps > 1 and not self._has_pages(pieces, steps):
            steps //= 2
        for piece in pieces:
            missing = self._missing(piece, steps)
            if missing > 0:
                piece.request.pages += self.pool.pools[piece.request.group].allocate(missing)
        return max(steps, 1)

    def check(self) -> None:
        """Assert that all pages and slots are accounted for; O(pages), for tests."""
        self.pool.check()
        holders = [0] * self.limits.num_pages
        for request in self.running:
            request.check(self.limits.page_tokens)
            for page in request.pages:
                assert page // self.pool.pages_per_group == request.group, "a page is elsewhere"
                holders[page] += 1
        if self.limits.state_slots:
            slots = [*self._free_slots, *(request.state_slot for request in self.running)]
            assert sorted(slots) == list(range(self.limits.state_slots)), "a slot is lost"
        assert not any(request.pages for request in self.waiting)
        assert self.pool.num_held == sum(count > 0 for count in holders)

    def _admit(self, pieces: list[Piece], budget: Budget, stalled: set[int]) -> None:
        while self.waiting and len(self.running) < self.max_running:
            request = self.waiting[0]
            groups = range(self.limits.data_groups)
            full = {group for group in groups if not request.next_count(budget.of(group))}
            if not self._take_pages(request, stalled | full):
                break
            self.waiting.pop(0)
            insort(self.running, request, key=_age)
            count = request.next_count(budget.of(request.group))
            pieces.append(Piece(request, request.num_computed, count))
            budget.take(request.group, count)

    def _take_pages(self, request: Request, closed: set[int]) -> bool:
        """Hold the pages of all tokens of a waiting request, known ones first; or none at all.

        They are not of a group that is `closed`.
        """
        size = self.limits.page_tokens
        count = _pages_for(len(request.tokens), size)
        choice = self.pool.choose(self._prefix_hashes(request), count, closed)
        if choice is None:
            return False
        request.group, known = choice
        if self.limits.state_slots:
            request.state_slot = self._free_slots.pop()
        pool = self.pool.pools[request.group]
        pool.hold(known)
        request.pages = known + pool.allocate(count - len(known))
        request.num_computed = len(known) * size
        if not request.start_time:
            request.start_time = time.monotonic()
            request.num_cached = request.num_computed
            self.num_prefix_queries += request.num_prompt
            self.num_prefix_hits += request.num_cached
        return True

    def _prefix_hashes(self, request: Request) -> list[PageHash]:
        """The hashes of pages that may be known; at least its last token is left to be run."""
        if not self.reuse_prefixes or request.scores or request.whole:
            return []
        size = self.limits.page_tokens
        full = (len(request.tokens) - 1) // size
        return [request.page_hash(index, size) for index in range(full)]

    def _has_pages(self, pieces: Sequence[Piece], steps: int) -> bool:
        missing = [0] * self.limits.data_groups
        for piece in pieces:
            missing[piece.request.group] += max(0, self._missing(piece, steps))
        pools = self.pool.pools
        return all(count <= pool.num_available for count, pool in zip(missing, pools, strict=True))

    def _missing(self, piece: Piece, steps: int) -> int:
        """Return how many pages a request lacks for `steps` tokens from where a piece begins."""
        needed = _pages_for(piece.start + steps, self.limits.page_tokens)
        return needed - len(piece.request.pages)

    def _make_room(self, request: Request, count: int, pieces: list[Piece]) -> bool:
        """Give a running request the pages for `count` more tokens; preempts younger ones."""
        size = self.limits.page_tokens
        missing = _pages_for(request.num_computed + count, size) - len(request.pages)
        if missing <= 0:
            return True
        pool = self.pool.pools[request.group]
        while missing > pool.num_available:
            chosen = {piece.request.request_id for piece in pieces}
            others = (r for r in reversed(self.running) if r.group == request.group)
            victim = next((r for r in others if r.request_id not in chosen), None)
            if victim is None or victim.request_id <= request.request_id:
                return False
            self._preempt(victim)
        request.pages += pool.allocate(missing)
        return True

    def _preempt(self, request: Request) -> None:
        self.running.remove(request)
        self._release(request)
        request.num_preemptions += 1
        self.num_preemptions += 1
        insort(self.waiting, request, key=_age)

    def _release(self, request: Request) -> None:
        self.pool.pools[request.group].release(request.pages)
        if self.limits.state_slots:
            self._free_slots.append(request.state_slot)
            request.state_slot = 0
        request.pages = []
        request.num_computed = 0


def _age(request: Request) -> int:
    return request.request_id


def _pages_for(num_tokens: int, page_tokens: int) -> int:
    return -(-num_tokens // page_tokens)
