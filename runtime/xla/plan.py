"""Read the plan of an artifact for XLA: what its programs take, and on which devices they run.

The schema stands in docs/architecture.md, section 6.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ingot.errors import ArtifactError

from .mesh import DeviceMesh

PLAN_VERSION = 1
PLATFORMS = ("cpu", "tpu", "cuda")
ITEM_BITS = {
    "float32": 32,
    "float16": 16,
    "bfloat16": 16,
    "int32": 32,
    "int8": 8,
    "int4": 4,
}
"""Bits of an element, by the name of its type."""

T = TypeVar("T")


@dataclass(frozen=True)
class Pool:
    """One array of the KV cache, the same on every device of its stage."""

    stage: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Parameter:
    """An array of weights, part by part: see `targets/xla/lowering/program.py`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    stage: int
    axes: tuple[str, ...]
    """The parts differ along these axes of the mesh; the last is the fastest in `weights`."""
    weights: tuple[tuple[str, ...], ...]
    """A row for each array of a stack, or one; in it a packed weight for each part."""
    stacked: bool
    offset: int
    """Where its bytes begin in the packed weight."""


@dataclass(frozen=True)
class StageFiles:
    """The program of one stage of a step, as files of the artifact."""

    program: str
    executable: str | None


@dataclass(frozen=True)
class Step:
    """A compiled size of a step, for each data group; smaller steps are padded to it.

    `decode`: every sequence has one token, and token s is that of sequence s.
    """

    tokens: int
    sequences: int
    rows: int
    blocks: int
    decode: bool
    stages: tuple[StageFiles, ...]


@dataclass(frozen=True)
class XlaPlan:
    """What an executor needs to know of an artifact compiled by XLA."""

    platform: str
    topology: str
    mesh: DeviceMesh
    places: tuple[int, ...]
    """Of each device of the mesh, its number on the platform."""
    build: str
    """What compiled the executables: see `ingot.executables.platform_build`."""
    vocab_size: int
    max_positions: int
    page_tokens: int
    num_pages: int
    """Of all data groups together."""
    row_width: int
    token_types: int
    kv_dtype: str
    pools: tuple[Pool, ...]
    parameters: tuple[Parameter, ...]
    steps: tuple[Step, ...]

    @property
    def pages_per_group(self) -> int:
        """Pages of the devices of one data group."""
        return self.num_pages // self.mesh.data_groups


def parse_plan(document: object, where: str) -> XlaPlan:
    """Check and read a plan; raises ArtifactError for another version, or one without sense."""
    if isinstance(document, dict) and document.get("version") != PLAN_VERSION:
        raise ArtifactError(
            f"plan version {document.get('version')}, this Ingot runs {PLAN_VERSION}",
            where=where,
            hint="Compile the model again.",
        )
    try:
        plan = _read(document)
        _check(plan)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ArtifactError(
            f"malformed plan: {reason}", where=where, hint="Compile the model again."
        ) from error
    return plan


def _read(document: Any) -> XlaPlan:
    limits, cache = document["limits"], document["kv_cache"]
    mesh = DeviceMesh.parse(document["mesh"])
    positions = int(limits["max_positions"])
    return XlaPlan(
        platform=str(document["platform"]),
        topology=str(document["topology"]),
        mesh=mesh,
        places=_numbers(document.get("places", range(mesh.devices))),
        build=str(document["compiler"]["build"]),
        vocab_size=int(limits["vocab_size"]),
        max_positions=min(positions, int(limits.get("context") or positions)),
        page_tokens=int(limits["page_tokens"]),
        num_pages=int(limits["num_pages"]),
        row_width=int(limits.get("row_width", 0)),
        token_types=int(limits.get("token_types", 0)),
        kv_dtype=str(cache["dtype"]),
        pools=_each(cache["layers"], _pool),
        parameters=_each(document["parameters"], _parameter),
        steps=_each(document["steps"], _step),
    )


def _pool(one: Any) -> Pool:
    return Pool(int(one["stage"]), _numbers(one["shape"]))


def _parameter(one: Any) -> Parameter:
    weights = one["parts"]["weights"]
    stacked = bool(weights) and not isinstance(weights[0], str)
    return Parameter(
        name=str(one["name"]),
        dtype=str(one["dtype"]),
        shape=_numbers(one["shape"]),
        stage=int(one["stage"]),
        axes=tuple(one["parts"]["axes"]),
        weights=_each(weights if stacked else [weights], lambda row: tuple(map(str, row))),
        stacked=stacked,
        offset=int(one.get("offset", 0)),
    )


def _step(one: Any) -> Step:
    return Step(
        tokens=int(one["tokens"]),
        sequences=int(one["sequences"]),
        rows=int(one["rows"]),
        blocks=int(one["blocks"]),
        decode=bool(one["decode"]),
        stages=_each(
            one["stages"], lambda each: StageFiles(str(each["program"]), each.get("executable"))
        ),
    )


def _check(plan: XlaPlan) -> None:
    mesh = plan.mesh
    if plan.platform not in PLATFORMS:
        raise ValueError(f"no platform {plan.platform!r}")
    if len(plan.places) != mesh.devices:
        raise ValueError(f"{len(plan.places)} places for {mesh.devices} devices")
    if not plan.steps or plan.num_pages < 1 or plan.num_pages % mesh.data_groups:
        raise ValueError("no steps, or pages that do not divide")
    if plan.page_tokens % mesh.size("cp"):
        raise ValueError("pages that cannot be divided by tokens")
    for step in plan.steps:
        if len(step.stages) != mesh.stages:
            raise ValueError(f"{len(step.stages)} stages of {mesh.stages}")
        if min(step.tokens, step.sequences, step.rows, step.blocks) < 1:
            raise ValueError("an empty step")
    arrays: tuple[Pool | Parameter, ...] = (*plan.pools, *plan.parameters)
    for stage, shape in [(one.stage, one.shape) for one in arrays]:
        if not 0 <= stage < mesh.stages or not shape or min(shape) < 1:
            raise ValueError(f"an array of {shape} on stage {stage}")
    for name in {plan.kv_dtype, *(parameter.dtype for parameter in plan.parameters)}:
        if name not in ITEM_BITS:
            raise ValueError(f"no type {name!r}")


def _numbers(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _each(values: Any, read: Callable[[Any], T]) -> tuple[T, ...]:
    return tuple(read(value) for value in values)
