"""Requests in, tokens out: continuous batching over ragged steps on any executor."""

from .engine import Engine, EngineOptions
from .observer import EngineState, Observer
from .outputs import FinishReason, Output, Sink, TokenLogprob
from .request import Request
from .sampler import Sampled, Sampler
from .thread import EngineThread

__all__ = [
    "Engine",
    "EngineOptions",
    "EngineState",
    "EngineThread",
    "FinishReason",
    "Observer",
    "Output",
    "Request",
    "Sampled",
    "Sampler",
    "Sink",
    "TokenLogprob",
]
