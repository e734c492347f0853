"""Where measurements of the engine go; the base class throws them away."""

from dataclasses import dataclass

from .request import Request


@dataclass(frozen=True, slots=True)
class EngineState:
    """Counts at one moment."""

    num_running: int
    num_waiting: int
    kv_cache_usage: float
    """Fraction of the pages that running requests hold."""
    num_prefix_queries: int
    """Prompt tokens looked up in the prefix cache so far."""
    num_prefix_hits: int
    """Those of them found there."""
    num_preemptions: int


class Observer:
    """Called in the engine's thread; must return at once.  Times are of `time.monotonic`."""

    def stepped(self, state: EngineState) -> None:
        """A step was run, or the engine falls idle."""

    def sampled(self, request: Request, now: float) -> None:
        """A token was sampled; `request` is as before that: its `token_time` is the last one's."""

    def finished(self, request: Request, now: float) -> None:
        """`request.finish_reason` is set."""
