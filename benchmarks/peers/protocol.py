"""Requests and answers between the driver and a worker: one JSON object a line, over pipes.

A worker's file ends with `serve(Engine)`; what libraries print goes to standard error, so that only
answers are on the pipe.  Requests are `{"do": name, …}`; `name` is a method of the engine, the rest
its keywords.  An answer is `{"value": …}` or `{"error": text}`.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TypedDict


class Generated(TypedDict):
    """Seconds to the first token of every sequence, then tokens of all in the seconds after it."""

    first: float
    tokens: int
    rest: float


class Engine(Protocol):
    """A runtime with one model.  The file of each says how its tokens are timed."""

    def load(self, model: str, threads: int, tokens: int, **options: Any) -> None:
        """Load the model stored at `model`, with room for `tokens` tokens in its KV cache."""

    def generate(self, sequences: int, prompt: int, new: int, seed: int) -> Generated:
        """Decode greedily `new` tokens after random prompts of `prompt` tokens each."""


def prompts(sequences: int, length: int, seed: int) -> list[list[int]]:
    """Return random tokens that no cached prefix serves, below every model's vocabulary size."""
    source = random.Random(seed)
    return [[source.randrange(1000, 100_000) for _ in range(length)] for _ in range(sequences)]


def clock() -> float:
    """Return seconds of the clock that all timings use."""
    return time.perf_counter()


def serve(make: Callable[[], Engine]) -> None:
    """Answer the requests on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    engine = make()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": getattr(engine, request.pop("do"))(**request)}
        except Exception as error:  # the driver reports it as this runtime's and goes on
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
