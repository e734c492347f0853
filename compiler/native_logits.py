"""The native executor's logits of a sample, to be compared with the interpreter's."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ingot.passes import Sample
from ingot.runtime.artifact import Artifact
from ingot.runtime.cpu_level import supported_levels
from ingot.runtime.executor import StepBatch
from ingot.runtime.native_executor import NativeExecutor

PAGES = 8
"""Pages of KV cache for each sequence: more than samples need."""
PAGE_TOKENS = 16


def native_logits(artifact: Artifact, sample: Sample) -> Tensor | None:
    """Return `[rows of all steps, vocabulary]` in float64; None where no level runs here."""
    if not set(artifact.manifest["targets"]["cpu"]["levels"]) & set(supported_levels()):
        return None
    most = max(len(step.starts) - 1 for step in sample.steps)
    executor = NativeExecutor(artifact, kv_pages=most * PAGES)
    try:
        found = [
            torch.from_numpy(executor.step(batch).astype(np.float64)) for batch in _batches(sample)
        ]
    finally:
        executor.close()
    return torch.cat(found)


def _batches(sample: Sample) -> Iterator[StepBatch]:
    for step in sample.steps:
        count = len(step.starts) - 1
        rows = range(len(step.tokens)) if step.rows is None else step.rows
        yield StepBatch(
            token_ids=step.tokens.numpy().astype(np.int32),
            positions=step.positions.numpy().astype(np.int32),
            starts=np.array(step.starts, np.int32),
            block_tables=np.arange(count * PAGES, dtype=np.int32).reshape(count, PAGES),
            row_ids=np.array(rows, np.int32),
            state_slots=np.arange(count, dtype=np.int32),
        )
