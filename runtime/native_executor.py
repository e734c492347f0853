"""The CPU as an executor: an artifact's plan and kernels, run by the native thread team."""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ArtifactError, UsageError

from . import _native
from .artifact import Artifact
from .artifact_format import CPU_KERNELS, CPU_PLAN
from .cpu_level import BASES, choose_level
from .executor import DecodeBatch, Int32Array, Limits, StepBatch
from .kernels import Kernels
from .machine import available_memory, usable_threads
from .plan import PlanFile
from .resident import ResidentWeights, Weights
from .tuning import Choices, Subject, choose

KV_SHARE = 0.25
"""Share of the available memory that the KV cache takes by default; it is touched as it fills."""
MAX_KV_PAGES = 1 << 16
STATE_SHARE = 0.25
"""Share of the available memory that states may take by default; it is touched when used."""
MAX_STATE_SLOTS = 64


class NativeExecutor:
    """An executor on the CPU; see `Executor` for the contract of `step` and `close`.

    `threads` defaults to the CPUs that the process may use.  The KV cache has `kv_pages` pages, or
    what fits `kv_memory` bytes, or a quarter of the available memory.  A model with state holds
    that of `state_slots` sequences: by default 64, or as many as fit a quarter of the memory.
    `choices` says which kernels serve how many rows: by default the fastest here (`tuning`).
    Raises `ArtifactError` where the artifact has no sound plan for this CPU, `UsageError` where the
    memory holds no page.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        threads: int | None = None,
        max_step_tokens: int = 512,
        kv_pages: int | None = None,
        kv_memory: int | None = None,
        state_slots: int | None = None,
        choices: Choices | None = None,
    ) -> None:
        self.level = choose_level(_carried_levels(artifact))
        plan_file = PlanFile.parse(artifact.read_json(CPU_PLAN), f"{artifact.path}/{CPU_PLAN}")
        self._artifact = artifact
        team = usable_threads() if threads is None else threads
        self._resident = ResidentWeights(artifact)
        self._kernels = _kernels(artifact, self.level, plan_file)
        pages = kv_pages if kv_pages is not None else _pages(plan_file, kv_memory)
        slots = _state_slots(plan_file, state_slots)
        self._weights: Weights = self._resident.weights  # the plan holds their addresses
        self.choices = self._choose(plan_file, team) if choices is None else choices
        plan = plan_file.resolve(self._kernels.addresses, self._weights, self.choices)
        try:
            self._native = _native.Executor(plan, max_step_tokens, pages, slots, team)
        except ValueError as error:
            raise UsageError(
                str(error), hint="Change threads, max_step_tokens or the size of the KV cache."
            ) from error
        self.threads = self._native.threads
        self.limits = _limits(plan_file, pages, slots, self._native.max_step_tokens)

    def _choose(self, plan: PlanFile, threads: int) -> Choices:
        """Return the choice of kernels that is the fastest on this machine."""
        objects = [level for level in (self.level, BASES.get(self.level)) if level is not None]
        files = self._artifact.manifest["files"]
        subject = Subject(
            plan.document,
            self._weights,
            plan.families(self._kernels.symbols),
            self.level,
            json.dumps([files[CPU_KERNELS.format(level=level)] for level in objects]),
        )

        def resolve(document: Mapping[str, Any]) -> _native.Plan:
            self._resident.settle(wait=True)
            trial = PlanFile(document, plan.where)
            return trial.resolve(self._kernels.addresses, self._weights)

        return choose(subject, resolve, threads)

    def step(self, batch: StepBatch) -> NDArray[np.float32]:
        """Run one step; returns `[R, width]`, whose rows may be further apart than that."""
        logits = self._native.step(
            _contiguous(batch.token_ids),
            _contiguous(batch.positions),
            _contiguous(batch.starts),
            _contiguous(batch.block_tables),
            _contiguous(batch.row_ids),
            _contiguous(batch.token_types),
            _contiguous(batch.state_slots),
        )
        self._resident.settle()  # the first token need not wait for that
        return logits

    def decode(self, batch: DecodeBatch) -> _native.Decoded:
        """See `DecodingExecutor`."""
        decoded = self._native.decode(
            token_ids=_contiguous(batch.token_ids),
            positions=_contiguous(batch.positions),
            block_tables=_contiguous(batch.block_tables),
            state_slots=_contiguous(batch.state_slots),
            end_ids=batch.end_ids,
            states=batch.samplers,
            steps=batch.steps,
            seconds=batch.seconds,
        )
        self._resident.settle()
        return decoded

    def interrupt(self, on: bool) -> None:
        """See `DecodingExecutor`."""
        self._native.interrupt(on)

    def close(self) -> None:
        """Release arena, KV cache and threads; a view of logits stays readable."""
        self._native.close()
        self._weights = {}
        self._resident.close()

    def set_profiling(self, on: bool) -> None:
        """Time every launch from the next step on, at the cost of two clock readings each."""
        self._native.set_profiling(on)

    def last_profile(self) -> list[tuple[str, float]]:
        """Name and seconds of each launch of the last step, in order; the waits are included."""
        return self._native.last_profile()

    def last_waits(self) -> list[float]:
        """Seconds of each launch of the last step in which the calling thread only waited."""
        return self._native.last_waits()

    @property
    def active_threads(self) -> int:
        """How many threads take part at present; fewer than `threads` beside a busy process."""
        return self._native.active_threads


def _contiguous(array: Int32Array) -> Int32Array:
    return np.ascontiguousarray(array)


def _kernels(artifact: Artifact, level: str, plan: PlanFile) -> Kernels:
    name = CPU_KERNELS.format(level=level)
    base = BASES.get(level)
    return Kernels(
        artifact.read_bytes(name),
        plan.symbols,
        alternatives=plan.alternatives,
        base=None if base is None else artifact.read_bytes(CPU_KERNELS.format(level=base)),
        where=f"{artifact.path}/{name}",
    )


def _carried_levels(artifact: Artifact) -> set[str]:
    pattern = re.compile(re.escape(CPU_KERNELS).replace(r"\{level\}", r"(\w+)"))
    levels = {match[1] for name in artifact.files if (match := pattern.fullmatch(name))}
    if not levels:
        raise ArtifactError(
            "it was not compiled for the CPU",
            where=str(artifact.path),
            hint="Compile the model again with --target cpu.",
        )
    return levels


def _pages(plan: PlanFile, kv_memory: int | None) -> int:
    memory = int(KV_SHARE * available_memory()) if kv_memory is None else kv_memory
    page = plan.kv_bytes_per_page
    pages = min(MAX_KV_PAGES, memory // page) if page else MAX_KV_PAGES
    if pages < 1:
        raise UsageError(
            f"{memory} bytes hold no page of the KV cache, which takes {page}",
            hint="Give the KV cache more memory.",
        )
    return pages


def _state_slots(plan: PlanFile, wanted: int | None) -> int:
    """Return how many sequences' states to hold, 0 for a model without state."""
    size = sum(plan.state_bytes)
    if not size:
        return 0
    if wanted is not None:
        return wanted
    return max(1, min(MAX_STATE_SLOTS, int(STATE_SHARE * available_memory()) // size))


def _limits(plan: PlanFile, pages: int, state_slots: int, max_step_tokens: int) -> Limits:
    limits = plan.document["limits"]
    return Limits(
        vocab_size=limits["vocab_size"],
        max_positions=limits["max_positions"],
        page_tokens=limits["page_tokens"],
        num_pages=pages,
        max_step_tokens=max_step_tokens,
        row_width=limits.get("row_width", 0),
        token_types=limits.get("token_types", 0),
        state_slots=state_slots,
    )
