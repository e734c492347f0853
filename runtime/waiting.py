"""Waiting in one thread for what the engine says in another."""

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ingot.errors import IngotError

from .engine import FinishReason, Output

News = queue.SimpleQueue[Output]


@contextmanager
def cancelling(cancel: Callable[[int], None], numbers: list[int]) -> Iterator[None]:
    """Cancel the requests where the block is left by an exception, `GeneratorExit` included."""
    try:
        yield
    except BaseException:
        for number in numbers:
            cancel(number)
        raise


def collect(news: News, numbers: Sequence[int]) -> dict[int, list[Output]]:
    """Wait until all of `numbers` have ended; raises if one has failed."""
    outputs: dict[int, list[Output]] = {number: [] for number in numbers}
    remaining = len(numbers)
    while remaining:
        output = news.get()
        raise_failure(output)
        outputs[output.request_id].append(output)
        remaining -= output.finish_reason is not None
    return outputs


def raise_failure(output: Output) -> None:
    """Raise `IngotError` for a request that has failed or was cancelled."""
    if output.finish_reason == FinishReason.ERROR:
        raise IngotError(output.error, where=f"request {output.request_id}")
    if output.finish_reason == FinishReason.CANCELLED:
        raise IngotError("the model was closed", where=f"request {output.request_id}")
