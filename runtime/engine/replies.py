"""The requests that are under way, and what their owners are told."""

import logging
import time
from collections.abc import Callable

from .observer import Observer
from .outputs import FinishReason, Output, TokenLogprob
from .request import Request
from .sampler import Sampled
from .scheduler import Scheduler

log = logging.getLogger("ingot.engine")


class Replies:
    """Every request from its arrival at the scheduler to its last news.

    `cancel` is called with the number of a request whose owner cannot be told any more.
    """

    def __init__(
        self, scheduler: Scheduler, observer: Observer, cancel: Callable[[int], None]
    ) -> None:
        self.requests: dict[int, Request] = {}
        self._scheduler, self._observer, self._cancel = scheduler, observer, cancel

    def append(self, request: Request, sampled: Sampled, now: float) -> None:
        """Add a token to its request, end the request if it is the last, and tell.

        `now` is when it was sampled.
        """
        self._observer.sampled(request, now)
        request.token_time = now
        request.tokens.append(sampled.token_id)
        try:
            text, reason = _advance_text(request, sampled.token_id)
        except Exception as error:
            log.exception("a token could not be decoded")
            self.fail(request, f"a token could not be decoded: {error}")
            return
        logprobs = () if sampled.logprob is None else (sampled.logprob,)
        self.tell(request, reason, token_ids=(sampled.token_id,), text=text, logprobs=logprobs)

    def fail(self, request: Request, error: str) -> None:
        """End a request for a reason that is not its owner's."""
        self.tell(request, FinishReason.ERROR, error=error)

    def tell(
        self,
        request: Request,
        reason: FinishReason | None,
        *,
        token_ids: tuple[int, ...] = (),
        text: str = "",
        logprobs: tuple[TokenLogprob, ...] = (),
        error: str = "",
    ) -> None:
        """Send news to the owner of a request; with a reason, the last news."""
        if reason is not None:
            request.finish_reason = reason
            self._scheduler.remove(request)
            del self.requests[request.request_id]
            self._observer.finished(request, time.monotonic())
        output = Output(
            request_id=request.request_id,
            token_ids=token_ids,
            text=text,
            logprobs=logprobs,
            finish_reason=reason,
            error=error,
            num_cached_tokens=request.num_cached,
        )
        try:
            request.sink(output)
        except Exception:
            log.exception("the owner of request %d is gone", request.request_id)
            if reason is None:
                self._cancel(request.request_id)


def _advance_text(request: Request, token_id: int) -> tuple[str, FinishReason | None]:
    if token_id in request.end_ids:
        return request.text.flush() if request.text else "", FinishReason.STOP
    text, stopped = request.text.push(token_id) if request.text else ("", False)
    if stopped:
        return text, FinishReason.STOP
    if len(request.tokens) < request.max_length:
        return text, None
    return text + (request.text.flush() if request.text else ""), FinishReason.LENGTH
