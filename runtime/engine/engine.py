"""The serving loop: receive, schedule, run, reply.

One thread calls `step` (or `serve`); any thread may `submit` and `cancel`.  A request that is
refused is refused in `submit`, in the thread of its owner.  Whatever goes wrong in a step ends the
requests of that step, with the reason, and no other.
"""

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ingot.errors import RequestError, UsageError
from ingot.runtime.executor import Executor
from ingot.runtime.sampling import SamplingParams

from .batch import Step, build_step
from .bursts import Bursts
from .intake import check_params, check_prompt
from .observer import EngineState, Observer
from .outputs import FinishReason, Sink
from .replies import Replies
from .request import Request, TextSink
from .sampler import Sampled, Sampler
from .scheduler import Piece, Scheduler

log = logging.getLogger("ingot.engine")


@dataclass(frozen=True)
class EngineOptions:
    """How the engine shares the device."""

    max_running: int = 64
    """The most sequences in one step."""
    max_length: int | None = None
    """The most tokens of one sequence; `None`: as many as the model and the KV cache hold."""
    reuse_prefixes: bool = True
    """Whether a prompt takes over the KV pages of an earlier one that begins alike."""


@dataclass(frozen=True)
class _Cancel:
    request_id: int


class Engine:
    """Continuous batching on one executor.  The engine owns the executor and closes it."""

    def __init__(
        self,
        executor: Executor,
        sampler: Sampler,
        options: EngineOptions | None = None,
        observer: Observer | None = None,
        bursts: Bursts | None = None,
    ) -> None:
        options = options or EngineOptions()
        self.limits = executor.limits
        self.scheduler = Scheduler(
            self.limits, options.max_running, reuse_prefixes=options.reuse_prefixes
        )
        self.max_length = _choose_max_length(options.max_length, self.scheduler.max_length)
        self.observer = observer or Observer()
        self._replies = Replies(self.scheduler, self.observer, self.cancel)
        self._bursts = bursts
        self._executor, self._sampler = executor, sampler
        self._inbox: queue.SimpleQueue[Request | _Cancel | None] = queue.SimpleQueue()
        self._ids = count(1)
        self._closing = False
        self._gate = threading.Lock()  # between the last `submit` and the end
        self._stopped = False

    # Called by any thread.

    def submit(
        self,
        prompt: Sequence[int],
        params: SamplingParams,
        sink: Sink,
        *,
        end_ids: frozenset[int] = frozenset(),
        make_text: Callable[[], TextSink | None] | None = None,
        eager: bool = True,
    ) -> int:
        """Queue a request for tokens; returns its number.  Raises `RequestError`.

        `make_text` is called once the prompt has been found good.  Where nobody looks at tokens as
        they come, `eager` may be False: their news may then come many at a time.
        """
        check_prompt(prompt, self.limits, self.max_length - 1)
        check_params(params, self.limits)
        ends = frozenset(params.stop_token_ids)
        request = Request(
            request_id=next(self._ids),
            tokens=list(prompt),
            params=params,
            sink=sink,
            max_length=min(self.max_length, len(prompt) + (params.max_tokens or self.max_length)),
            seed=secrets.randbits(64) if params.seed is None else params.seed,
            end_ids=ends if params.ignore_eos else ends | end_ids,
            text=make_text and make_text(),
            eager=eager,
        )
        return self._queue(request)

    def submit_scoring(
        self,
        prompt: Sequence[int],
        logits: NDArray[np.float32],
        sink: Sink,
        *,
        chunk: int | None = None,
    ) -> int:
        """Queue a request for the logits of every position, into `logits` `[prompt, vocab]`."""
        check_prompt(prompt, self.limits, self.max_length)
        assert logits.shape == (len(prompt), self.limits.vocab_size)
        if chunk is not None and chunk < 1:
            raise RequestError(f"{chunk} is not allowed", where="chunk", hint="Give at least 1.")
        request = Request(
            request_id=next(self._ids),
            tokens=list(prompt),
            params=SamplingParams(),
            sink=sink,
            max_length=self.max_length,
            seed=0,
            logits=logits,
            chunk=chunk,
        )
        return self._queue(request)

    def submit_whole(
        self,
        tokens: Sequence[int],
        row: NDArray[np.float32],
        sink: Sink,
        token_types: Sequence[int] = (),
    ) -> int:
        """Queue a text for a model that pools: one step writes its result into `row`."""
        check_prompt(tokens, self.limits, self.longest_whole)
        assert row.shape == (self.limits.row_width,)
        assert len(token_types) in (0, len(tokens))
        request = Request(
            request_id=next(self._ids),
            tokens=list(tokens),
            params=SamplingParams(),
            sink=sink,
            max_length=self.max_length,
            seed=0,
            row=row,
            token_types=token_types,
        )
        return self._queue(request)

    @property
    def longest_whole(self) -> int:
        """The most tokens of a text that runs in one step."""
        return min(self.max_length, self.limits.group_tokens)

    def cancel(self, request_id: int) -> None:
        """End a request with `FinishReason.CANCELLED`; nothing happens if it has ended already."""
        self._post(_Cancel(request_id))

    def close(self) -> None:
        """Make `serve` cancel all requests, close the executor and return."""
        self._post(None)

    # Called by the engine's thread.

    def serve(self) -> None:
        """Run until `close`."""
        reason, error = FinishReason.CANCELLED, ""
        try:
            while not self._closing:
                if not self.step() and not self._closing:
                    self._wait()
        except BaseException as failure:
            reason, error = FinishReason.ERROR, f"the engine has stopped: {failure!r}"
            raise
        finally:
            self._stop(reason, error)
            self._executor.close()

    def step(self) -> bool:
        """Run one step, or a burst of them; returns whether there was anything to run."""
        self._receive()
        pieces = self._schedule()
        if not pieces:
            return False
        steps = self._bursts.plan(pieces, self.scheduler) if self._bursts else 1
        if self._bursts and steps > 1:
            self._run_burst(self._bursts, pieces, steps)
        else:
            step, logits = self._run(pieces)
            if step is not None and logits is not None:
                self._reply(pieces, step, logits)
        self.observer.stepped(self.state())
        return True

    def state(self) -> EngineState:
        """Counts of what is in the engine and what it has done."""
        scheduler = self.scheduler
        return EngineState(
            num_running=len(scheduler.running),
            num_waiting=len(scheduler.waiting),
            kv_cache_usage=scheduler.pool.num_held / self.limits.num_pages,
            num_prefix_queries=scheduler.num_prefix_queries,
            num_prefix_hits=scheduler.num_prefix_hits,
            num_preemptions=scheduler.num_preemptions,
        )

    def _queue(self, request: Request) -> int:
        with self._gate:
            if self._stopped:
                raise RuntimeError("the engine is closed")
            self._post(request)
        return request.request_id

    def _post(self, item: Request | _Cancel | None) -> None:
        self._inbox.put(item)
        if self._bursts:
            self._bursts.interrupt()

    def _receive(self) -> None:
        if self._bursts:
            self._bursts.listen()
        while True:
            try:
                self._accept(self._inbox.get_nowait())
            except queue.Empty:
                return

    def _wait(self) -> None:
        """Sleep until something arrives."""
        assert self.scheduler.pool.num_held == 0, "a page is lost"
        self.observer.stepped(self.state())
        self._accept(self._inbox.get())

    def _accept(self, item: Request | _Cancel | None) -> None:
        if item is None:
            self._closing = True
        elif isinstance(item, Request):
            self._replies.requests[item.request_id] = item
            self.scheduler.add(item)
        elif item.request_id in self._replies.requests:
            self._replies.tell(self._replies.requests[item.request_id], FinishReason.CANCELLED)

    def _schedule(self) -> list[Piece]:
        pieces = self.scheduler.schedule()
        assert pieces or self.scheduler.idle
        return pieces

    def _run(self, pieces: list[Piece]) -> tuple[Step | None, NDArray[np.float32] | None]:
        """Give the step to the device; if it fails, its requests have failed."""
        try:
            step = build_step(pieces, self.limits.page_tokens)
            logits = self._executor.step(step.batch)
        except Exception as error:
            self._fail_all(pieces, error)
            return None, None
        self.scheduler.advance(pieces)
        return step, logits

    def _run_burst(self, bursts: Bursts, pieces: list[Piece], steps: int) -> None:
        """Give a burst to the device; if it fails, its requests have failed."""
        try:
            burst = bursts.run(pieces, steps, self.limits.page_tokens)
        except Exception as error:
            self._fail_all(pieces, error)
            return
        for step in burst:
            alive = [
                (request, item)
                for request, item in step.sampled
                if request.request_id in self._replies.requests
            ]
            self.scheduler.advance([Piece(one, one.num_computed, 1) for one, _ in alive])
            for request, item in alive:
                if isinstance(item, str):
                    self._replies.fail(request, f"sampling failed: {item}")
                else:
                    self._replies.append(request, item, step.time)

    def _fail_all(self, pieces: list[Piece], error: Exception) -> None:
        """End the requests of a step, or of a burst, that failed; called where it was caught."""
        log.exception("a step failed")
        for piece in pieces:
            self._replies.fail(piece.request, f"the device failed: {error}")

    def _reply(self, pieces: list[Piece], step: Step, logits: NDArray[np.float32]) -> None:
        for piece, row in step.scored:
            assert piece.request.logits is not None
            end = piece.start + piece.count
            piece.request.logits[piece.start : end] = logits[row : row + piece.count]
            if piece.completes:
                self._replies.tell(piece.request, FinishReason.LENGTH)
        for request, row in step.pooled:
            assert request.row is not None
            request.row[:] = logits[row]
            self._replies.tell(request, FinishReason.STOP)
        if step.sampled:
            rows = logits[step.sample_rows] if step.scored else logits
            now = time.monotonic()
            for request, sampled in zip(
                step.sampled, self._sample(rows, step.sampled), strict=True
            ):
                if isinstance(sampled, Exception):
                    self._replies.fail(request, f"sampling failed: {sampled}")
                else:
                    self._replies.append(request, sampled, now)

    def _sample(
        self, logits: NDArray[np.float32], requests: list[Request]
    ) -> Sequence[Sampled | Exception]:
        """Sample all rows at once, or, if that fails, each alone, so that only one fails."""
        try:
            return self._sampler.sample(logits, requests)
        except Exception as error:
            log.exception("sampling failed")
            if len(requests) == 1:
                return [error]
        return [
            self._sample(logits[row : row + 1], [request])[0]
            for row, request in enumerate(requests)
        ]

    def _stop(self, reason: FinishReason, error: str) -> None:
        """Take no more requests, and end all that are there."""
        with self._gate:
            self._stopped = True
        self._receive()
        for request in list(self._replies.requests.values()):
            self._replies.tell(request, reason, error=error)


def _choose_max_length(asked: int | None, possible: int) -> int:
    if asked is None:
        return possible
    if not 2 <= asked <= possible:
        raise UsageError(
            f"a length of {asked} tokens is not possible",
            where="max_length",
            hint=f"Give 2 to {possible}: what the model and the KV cache hold.",
        )
    return asked
