"""Small modules of a few operations, compiled and run as steps with a time for every launch."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from limits import aligned
from numpy.typing import NDArray

from ingot.ir import Module
from ingot.runtime import _native
from ingot.runtime.kernels import Kernels
from ingot.runtime.plan import PlanFile
from ingot.targets import ModelFacts
from ingot.targets.cpu.codegen import compile_kernels
from ingot.targets.cpu.kernel import Kernel
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.lower import lower
from ingot.targets.cpu.plan import PAGE_TOKENS, KvDtype

VOCABULARY = 64
POSITIONS = 8192
_BYTE = 0x22
"""What weights are filled with: a normal number in every float type, whatever it is read as."""


@dataclass(frozen=True)
class Built:
    """A compiled module: its plan as JSON, its kernels in memory, its weights."""

    document: Mapping[str, Any]
    kernels: Kernels
    weights: Mapping[str, NDArray[np.uint8]]

    def weight_bytes(self, launch: Mapping[str, Any]) -> int:
        """Bytes of all weights that a launch reads."""
        return sum(self.weights[slot[1]].nbytes for slot in launch["slots"] if slot[0] == "weight")


def build(text: str, level: Level, kv_dtype: KvDtype = "bfloat16") -> Built:
    """Compile the module `text` for one level, with made-up weights."""
    facts = ModelFacts(vocab_size=VOCABULARY, max_positions=POSITIONS)
    program = lower(Module.parse(text), facts, kv_dtype)
    plan = PlanFile.parse(json.loads(program.plan.text()), "benchmark")
    image = compile_kernels([one for one in program.kernels if isinstance(one, Kernel)], level)
    kernels = Kernels(image, plan.symbols, alternatives=plan.alternatives)
    weights = {weight.name: aligned(weight.num_bytes) for weight in program.weights}
    for data in weights.values():
        data[:] = _BYTE
    return Built(plan.document, kernels, weights)


def run(
    built: Built,
    launches: Sequence[Mapping[str, Any]],
    lengths: Sequence[int],
    tokens: int,
    threads: int,
    rounds: int,
) -> list[float]:
    """Return the median seconds of each of `launches` (entries of a plan with one kernel each).

    A step has a sequence for each of `lengths`, which has so many tokens in its cache and gets
    `tokens` more.  Caches are not filled: no kernel's time depends on what is in them.
    """
    plan = PlanFile({**built.document, "launches": list(launches)}, "benchmark")
    blocks = -(-(max(lengths) + tokens) // PAGE_TOKENS)
    count = len(lengths)
    executor = _native.Executor(
        plan.resolve(built.kernels.addresses, built.weights),
        count * tokens,
        count * blocks,
        1,
        threads,
    )
    positions = np.array(lengths)[:, None] + np.arange(tokens)
    nothing = np.zeros(0, np.int32)
    step = (
        np.arange(count * tokens, dtype=np.int32) % VOCABULARY,
        positions.reshape(-1).astype(np.int32),
        np.arange(0, count * tokens + 1, tokens, dtype=np.int32),
        np.arange(count * blocks, dtype=np.int32).reshape(count, blocks),
        np.arange(tokens - 1, count * tokens, tokens, dtype=np.int32),
        nothing,
        nothing,
    )
    executor.set_profiling(True)
    times = []
    for number in range(rounds + 1):
        executor.step(*step)
        if number:
            times.append([seconds for _, seconds in executor.last_profile()])
    executor.close()
    return [statistics.median(column) for column in zip(*times, strict=True)]
