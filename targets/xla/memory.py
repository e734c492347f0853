"""How many tokens a sequence may have, and how many pages of KV cache stand beside the weights."""

from collections.abc import Iterable, Sequence

from ingot.errors import UsageError
from ingot.ir import Mesh
from ingot.targets.base import ModelFacts, Settings
from ingot.targets.hardware import Hardware

from .lowering import CacheShape, KvPool, Parameter
from .lowering.program import Floats
from .plan import Limits, page_bytes

PAGE_TOKENS = 16
"""Tokens of a page on one device."""

USABLE = 0.9
"""Part of a device's memory that weights and pages may take; the rest is for activations, for the
program itself, and for what the system keeps."""

UNKNOWN = 512 << 20
"""Bytes for the pages of all devices together, where nothing is known of a device's memory."""


def limits_of(
    facts: ModelFacts,
    settings: Settings,
    mesh: Mesh | None,
    sequences: int,
    room: int,
) -> Limits:
    """Return what steps may hold: pages for `sequences` of full length, if there is `room`.

    `sequences` and `room`, a number of pages, are those of one data group.  Without room for a
    sequence of the model's length the context is shorter; one that was asked for has its pages all
    the same, and the compiler says by how much they do not fit.  Raises `UsageError` for a context
    longer than the model's, and for fewer pages than data groups.
    """
    groups = mesh.data_groups if mesh is not None else 1
    tokens = PAGE_TOKENS * (mesh.size("cp") if mesh is not None else 1)
    context = settings.context or facts.max_positions
    if context > facts.max_positions:
        raise UsageError(
            f"--context {context} is more than the {facts.max_positions} positions of the model",
            hint=f"Give {facts.max_positions} or less.",
        )
    if settings.kv_pages and settings.kv_pages < groups:
        raise UsageError(
            f"--kv-pages {settings.kv_pages} leaves nothing for some of the {groups} data groups",
            hint=f"Give {groups} pages or more: each of the mesh {mesh}'s groups has its own.",
        )
    blocks = _ceil(context, tokens)
    room = max(room, blocks if settings.context else 1)
    pages = settings.kv_pages // groups or min(sequences * blocks, room)
    return Limits(
        vocab_size=facts.vocab_size,
        max_positions=facts.max_positions,
        page_tokens=tokens,
        num_pages=pages * groups,
        context=min(context, pages * tokens),
    )


def room_for_pages(
    pools: Sequence[KvPool],
    parameters: Iterable[Parameter],
    dtype: Floats,
    devices: int,
    hardware: Hardware | None,
) -> int:
    """Return how many pages there is room for on each device beside its weights.

    Below zero where the weights alone take more than there is.
    """
    weights = stage_bytes(parameters)
    rooms = []
    for stage in {pool.stage for pool in pools}:
        page = sum(page_bytes(pool, PAGE_TOKENS, dtype) for pool in pools if pool.stage == stage)
        budget = UNKNOWN // devices
        if hardware is not None:
            budget = int(USABLE * hardware.memory_bytes) - weights.get(stage, 0)
        rooms.append(budget // page)
    return min(rooms, default=1)


def stage_bytes(parameters: Iterable[Parameter]) -> dict[int, int]:
    """Return the bytes of weights that a device of each pipeline stage holds."""
    found: dict[int, int] = {}
    for one in parameters:
        found[one.stage] = found.get(one.stage, 0) + one.num_bytes * len(one.weights)
    return found


def cache_of(limits: Limits, mesh: Mesh | None, dtype: Floats) -> CacheShape:
    """Return the KV cache of one device."""
    groups = mesh.data_groups if mesh is not None else 1
    return CacheShape(limits.num_pages // groups, PAGE_TOKENS, dtype)


def blocks_of(limits: Limits) -> int:
    """Return how many pages the longest sequence takes."""
    return _ceil(limits.context, limits.page_tokens)


def _ceil(count: int, of: int) -> int:
    return -(-count // of)
