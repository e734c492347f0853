"""What the engine tells the owner of a request, one value a step."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class FinishReason(StrEnum):
    """Why a request ended."""

    STOP = "stop"
    """An end-of-sequence token, a stop token or a stop string."""
    LENGTH = "length"
    """`max_tokens` generated, or the context full."""
    CANCELLED = "cancelled"
    ERROR = "error"
    """The device or the sampler failed; `Output.error` says how."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The logarithm of a token's probability before any filter, and of the likeliest tokens'."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """(token id, logprob), most likely first; as many as were asked for."""


@dataclass(frozen=True, slots=True)
class Output:
    """News of one request: what one step added to it, or that it ended."""

    request_id: int
    token_ids: tuple[int, ...] = ()
    text: str = ""
    """What may be shown now: complete characters, and nothing that may yet become a stop string."""
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    error: str = ""
    num_cached_tokens: int = 0
    """Tokens of the prompt whose KV entries were taken over from earlier requests."""


Sink = Callable[[Output], None]
"""Called in the engine's thread; must return at once and must not call the engine back."""
