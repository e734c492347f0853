"""Devices of XLA as an executor: every step is one or more runs of compiled programs."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ingot.errors import UsageError
from ingot.runtime.artifact import Artifact
from ingot.runtime.executor import Limits, StepBatch

from .batches import Run, split_batch, step_inputs, wanted_rows
from .memory import check_memory
from .pjrt import Client, DeviceArray, Group, Parts, dtype_of, open_client
from .plan import XlaPlan, parse_plan
from .programs import Programs
from .weights import place_parameters

PLAN = "targets/{family}/plan.json"


class XlaExecutor:
    """An executor on a mesh of devices; see `Executor` for the contract of `step` and `close`.

    What a step may hold and the size of the KV cache were fixed when the artifact was compiled;
    `max_step_tokens` may only lower the tokens of a step.  Raises `UsageError` where the host lacks
    a package, devices or memory, and for options that have no meaning here; `ArtifactError` where
    the artifact has no sound plan.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        family: str,
        threads: int | None = None,
        max_step_tokens: int | None = None,
        kv_pages: int | None = None,
        kv_memory: int | None = None,
    ) -> None:
        name = PLAN.format(family=family)
        where = f"{artifact.path}/{name}"
        self.plan = parse_plan(artifact.read_json(name), where)
        _refuse_options(self.plan, {"threads": threads, "kv_pages": kv_pages or kv_memory})
        self._artifact = artifact  # the devices of a CPU read its mapped weights
        client = open_client(self.plan.platform, 1 + max(self.plan.places))
        check_memory(self.plan, client)
        self._stages = [_group(self.plan, client, stage) for stage in range(self.plan.mesh.stages)]
        self._parameters = place_parameters(self.plan, artifact.weights, self._stages, where)
        self._pools = [_make_pools(self.plan, group, i) for i, group in enumerate(self._stages)]
        self._programs = Programs(artifact, self.plan, self._stages)
        self._programs.announce()
        if client.platform != "cpu":  # there all compile, or load, before the first request
            self._programs.prepare()
        self.limits = _limits(self.plan, max_step_tokens)

    def step(self, batch: StepBatch) -> NDArray[np.float32]:
        """Run one step; returns `[R, width]`."""
        _check_batch(batch, self.limits)
        if any(pool.deleted for pools in self._pools for pool in pools):
            raise RuntimeError("an earlier step failed on the devices, and its KV cache is lost")
        runs = split_batch(batch, self.plan)
        logits = np.empty((len(batch.row_ids), self.limits.width), np.float32)
        for run in runs:
            self._collect(batch, run, self._run(batch, run), logits)
        return logits

    def close(self) -> None:
        """Free what the devices hold.  Idempotent."""
        for array in [one for arrays in (*self._parameters, *self._pools) for one in arrays]:
            array.delete()
        self._parameters, self._pools = [], []
        self._programs.forget()

    def _run(self, batch: StepBatch, run: Run) -> Parts:
        """Run the stages one after the other; returns the logits of the last one's devices."""
        results: list[Parts] = []
        for stage, group in enumerate(self._stages):
            program = self._programs.get(run.step, stage)
            arguments = [
                *self._inputs(batch, run, stage),
                *(group.move(part) for part in results),
                *self._pools[stage],
                *self._parameters[stage],
            ]
            results, self._pools[stage] = program.run(arguments, self._pools[stage])
        [logits] = results
        return logits

    def _inputs(self, batch: StepBatch, run: Run, stage: int) -> list[DeviceArray]:
        mesh = self.plan.mesh
        places = [
            (mesh.data_group(device), mesh.coordinates(device).get("cp", 0))
            for device in mesh.stage_devices(stage)
        ]
        made = {place: step_inputs(batch, run, self.plan, *place) for place in set(places)}
        columns = zip(*(made[place] for place in places), strict=True)
        return [self._stages[stage].put(parts) for parts in columns]

    def _collect(
        self, batch: StepBatch, run: Run, parts: Parts, logits: NDArray[np.float32]
    ) -> None:
        """Write the rows that each data group computed where the batch wants them."""
        mesh = self.plan.mesh
        devices = mesh.stage_devices(mesh.stages - 1)
        for group, work in enumerate(run.works):
            rows = wanted_rows(batch, work)[1]
            if len(rows):
                first = next(i for i, d in enumerate(devices) if mesh.data_group(d) == group)
                logits[rows] = parts.read(first)[: len(rows)]


def _group(plan: XlaPlan, client: Client, stage: int) -> Group:
    return client.group([plan.places[device] for device in plan.mesh.stage_devices(stage)])


def _make_pools(plan: XlaPlan, group: Group, stage: int) -> list[DeviceArray]:
    dtype = dtype_of(plan.kv_dtype)
    shapes = [pool.shape for pool in plan.pools if pool.stage == stage]
    return [group.zeros(shape, dtype) for shape in shapes]


def _limits(plan: XlaPlan, max_step_tokens: int | None) -> Limits:
    groups = plan.mesh.data_groups
    most = groups * max(step.tokens for step in plan.steps)
    return Limits(
        vocab_size=plan.vocab_size,
        max_positions=plan.max_positions,
        page_tokens=plan.page_tokens,
        num_pages=plan.num_pages,
        max_step_tokens=most if max_step_tokens is None else min(most, max_step_tokens),
        row_width=plan.row_width,
        token_types=plan.token_types,
        data_groups=groups,
    )


def _refuse_options(plan: XlaPlan, options: Mapping[str, int | None]) -> None:
    if options["threads"] is not None:
        raise UsageError(
            f"an artifact for {plan.platform} devices of XLA takes no number of threads",
            hint="Leave it out.",
        )
    if options["kv_pages"] is not None:
        raise UsageError(
            f"the KV cache of this artifact has {plan.num_pages} pages, fixed when it was compiled",
            hint="Leave its size out, or compile the model again with another --kv-pages.",
        )


def _check_batch(batch: StepBatch, limits: Limits) -> None:
    count, positions = len(batch.token_ids), batch.positions
    if not 0 < count <= limits.max_step_tokens:
        raise ValueError(f"{count} tokens in a step, the limit is {limits.max_step_tokens}")
    if positions.min() < 0 or positions.max() >= limits.max_positions:
        raise ValueError(f"a position outside of 0 … {limits.max_positions - 1}")
    if batch.token_ids.min() < 0 or batch.token_ids.max() >= limits.vocab_size:
        raise ValueError(f"a token outside of 0 … {limits.vocab_size - 1}")
    if batch.block_tables.min() < 0 or batch.block_tables.max() >= limits.num_pages:
        raise ValueError(f"a page outside of 0 … {limits.num_pages - 1}")
