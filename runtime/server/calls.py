"""From the engine's thread to the event loop: the requests that one HTTP request makes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from ingot.runtime.engine import FinishReason, Output, Sink
from ingot.runtime.llm import LLM

from .errors import ApiError

T = TypeVar("T")


class Admission:
    """Counts the requests in the engine, and sheds load above a limit.  For the event loop only."""

    def __init__(self, limit: int) -> None:
        self.limit, self.count = limit, 0

    def enter(self, count: int) -> None:
        """Count `count` more requests, or raise `ApiError` 429."""
        if self.count + count > self.limit:
            raise ApiError(
                429,
                f"{self.count} requests are being answered or waiting, and {self.limit} may. "
                "Try again later.",
                code="queue_full",
                headers={"Retry-After": "1"},
            )
        self.count += count

    def leave(self, count: int) -> None:
        """Count `count` requests less."""
        self.count -= count
        assert self.count >= 0


class Calls:
    """Several requests to the engine whose news are read as one stream; use with `async with`.

    `submit` queues one of `requests` and returns its number.  All of them are submitted at once, or
    none: raises `ApiError` 429 or `RequestError`.  Leaving the block cancels what has not ended.
    """

    def __init__(
        self,
        model: LLM,
        admission: Admission,
        requests: Sequence[T],
        submit: Callable[[T, Sink], int],
    ) -> None:
        self._model, self._admission = model, admission
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[Output] = asyncio.Queue()
        self._index: dict[int, int] = {}
        admission.enter(len(requests))
        self._entered = len(requests)
        try:
            for index, one in enumerate(requests):
                self._index[submit(one, self._sink)] = index
        except BaseException:
            self._cancel()
            raise

    async def news(self) -> AsyncIterator[tuple[int, Output]]:
        """Yield (index of the request, its news) until all have ended; `ApiError` if one fails."""
        while self._index:
            output = await self._news.get()
            index = self._index[output.request_id]
            if output.finish_reason is not None:
                del self._index[output.request_id]
                self._leave(1)
            if output.finish_reason == FinishReason.ERROR:
                raise ApiError(500, output.error)
            if output.finish_reason == FinishReason.CANCELLED:
                raise ApiError(503, "The server is shutting down.")
            yield index, output

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cancel()

    def _cancel(self) -> None:
        for number in self._index:
            self._model.cancel(number)
        self._leave(self._entered)

    def _leave(self, count: int) -> None:
        self._entered -= count
        self._admission.leave(count)

    def _sink(self, output: Output) -> None:
        self._loop.call_soon_threadsafe(self._news.put_nowait, output)
