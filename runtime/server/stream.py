"""Answers that end when the client goes away: server-sent events, and plain ones."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .calls import Calls
from .errors import ApiError, error_body, log

T = TypeVar("T")
DONE = b"data: [DONE]\n\n"


class EventStream(Response):
    """Sends the events of an iterator as `data:` lines, and `[DONE]` after the last.

    An `ApiError` in mid-stream becomes an event, as the status has been sent.  The calls are
    cancelled when the stream ends, whatever ends it.
    """

    media_type = "text/event-stream"

    def __init__(self, calls: Calls, events: AsyncIterator[dict[str, Any]]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._calls, self._events = calls, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._calls:
            await _unless_disconnected(receive, self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        async for data in self._lines():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _lines(self) -> AsyncIterator[bytes]:
        try:
            async for event in self._events:
                yield _line(event)
        except ApiError as error:
            yield _line(error_body(error))
        except Exception:
            log.exception("a stream failed")
            yield _line(error_body(ApiError(500, "Internal error.")))
        yield DONE


async def answer(request: Request, calls: Calls, work: Coroutine[Any, Any, Response]) -> Response:
    """Await `work` while the client is there; when it goes away, cancel the calls."""
    async with calls:
        response = await _unless_disconnected(request.receive, work)
    return response or Response(status_code=499)  # nobody reads it


async def _unless_disconnected(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `work`, or `None` if the client goes away before."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _line(event: dict[str, Any]) -> bytes:
    return (
        b"data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
    )
