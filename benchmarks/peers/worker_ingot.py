"""Ingot in a worker: the times are those at which the engine hands tokens over."""

import queue
from collections.abc import Callable
from typing import Any

from ingot import LLM, SamplingParams
from ingot.runtime.engine import Output

from .protocol import Generated, clock, prompts, serve

PAGE_TOKENS = 16
News = queue.SimpleQueue[tuple[float, int, int]]
"""Moment, sequence, and how many tokens it got; -1 where it failed."""


class IngotEngine:
    """An artifact, opened by the Python interface."""

    def __init__(self) -> None:
        self._model: LLM | None = None

    def load(self, model: str, threads: int, tokens: int, **options: Any) -> None:
        """Open the artifact; `options` are those of its executor."""
        self._model = LLM(model, threads, kv_pages=-(-tokens // PAGE_TOKENS), **options)

    def generate(self, sequences: int, prompt: int, new: int, seed: int) -> Generated:
        """Time from the first token of the slowest sequence to the last of the fastest."""
        assert self._model is not None
        news: News = queue.SimpleQueue()
        params = SamplingParams(max_tokens=new, temperature=0, ignore_eos=True)
        requests = prompts(sequences, prompt, seed)
        start = clock()
        for number, tokens in enumerate(requests):
            self._model.submit(tokens, params, _sink(number, news))
        events = _collect(news, sequences, new)
        firsts: dict[int, float] = {}
        for moment, number, _ in events:
            firsts.setdefault(number, moment)
        all_begun = max(firsts.values())
        ends = {number: moment for moment, number, _ in events}
        end = min(ends.values())
        counted = sum(count for moment, _, count in events if all_begun < moment <= end)
        return {"first": all_begun - start, "tokens": counted, "rest": end - all_begun}


def _sink(number: int, news: News) -> Callable[[Output], None]:
    """Return what notes the time of each piece of news of one sequence."""
    return lambda output: news.put(
        (clock(), number, len(output.token_ids) if not output.error else -1)
    )


def _collect(news: News, sequences: int, new: int) -> list[tuple[float, int, int]]:
    """Return what came until every sequence has its tokens."""
    events = []
    missing = sequences * new
    while missing:
        moment, number, count = news.get(timeout=600)
        if count < 0:
            raise RuntimeError("a request failed")
        if count:
            events.append((moment, number, count))
            missing -= count
    return events


if __name__ == "__main__":
    serve(IngotEngine)
