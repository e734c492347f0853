"""Rows for many texts in one HTTP request, without filling the engine's queue with them."""

from collections.abc import Sequence

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from ingot.runtime.engine import Sink
from ingot.runtime.pooled import Pooled, Rows
from ingot.runtime.text.pooled_text import Tokens

from .calls import Calls
from .state import ServerState
from .stream import answer


async def rows_of(
    request: Request, state: ServerState, pooled: Pooled, sequences: Sequence[Tokens]
) -> Rows | Response:
    """Return the rows `[sequences, width]`, or a response where the client has gone away.

    The texts are queued a step's worth at a time.  Raises `ApiError` 429 where the queue is full,
    and `RequestError` for a sequence that is too long.
    """
    rows = np.empty((len(sequences), pooled.width), np.float32)
    count = state.model.engine.scheduler.max_running
    for start in range(0, len(sequences), count):
        chosen = range(start, min(start + count, len(sequences)))

        def submit(number: int, sink: Sink) -> int:
            return pooled.submit(sequences[number], rows[number], sink)

        calls = Calls(state.model, state.admission, chosen, submit)
        response = await answer(request, calls, _finished(calls))
        if response.status_code != 200:
            return response
    return rows


async def _finished(calls: Calls) -> Response:
    async for _ in calls.news():
        pass
    return Response()
