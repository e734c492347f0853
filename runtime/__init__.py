"""The serving part: artifact reader, executors, engine and daemon; no torch, no MLIR."""

from .artifact import Artifact
from .executor import Executor, Limits, StepBatch
from .llm import LLM, Completion
from .sampling import SamplingParams

__all__ = [
    "LLM",
    "Artifact",
    "Completion",
    "Executor",
    "Limits",
    "SamplingParams",
    "StepBatch",
]
