"""The serving part: artifact reader, executors, engine and daemon; no torch, no MLIR."""

from .llm import LLM, Completion
from .sampling import SamplingParams

__all__ = ["LLM", "Completion", "SamplingParams"]
