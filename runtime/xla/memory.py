"""Whether what an artifact keeps on the devices fits them, asked before anything is placed."""

from math import prod

from ingot.errors import UsageError
from ingot.runtime.machine import available_memory

from .pjrt import Client
from .plan import ITEM_BITS, XlaPlan


def check_memory(plan: XlaPlan, client: Client) -> None:
    """Raise UsageError where the KV cache and the weights need more than is free.

    What a step needs besides was checked by the compiler.  A device that does not tell how much it
    has is not asked twice.
    """
    if client.platform == "cpu":
        needed, free, whom = host_bytes(plan), available_memory(), "its devices, all on this CPU,"
    else:
        found = client.free_memory()
        if found is None:
            return
        needed, free, whom = device_bytes(plan), found, "each device"
    if needed > free:
        raise UsageError(
            f"{whom} would hold {_megabytes(needed)} of weights and KV cache, and "
            f"{_megabytes(free)} are free",
            hint="Compile the model with fewer --kv-pages, or over more devices (--mesh).",
        )


def host_bytes(plan: XlaPlan) -> int:
    """Bytes that all devices of a CPU hold together: the KV cache, and weights of 4 bits.

    These become a byte each; other weights stay in the mapped file.
    """
    held = sum(
        _bytes(pool.shape, plan.kv_dtype) * len(plan.mesh.stage_devices(pool.stage))
        for pool in plan.pools
    )
    for one in plan.parameters:
        if one.dtype == "int4":
            parts = len(set(zip(*one.weights, strict=True)))
            held += parts * prod(one.shape)
    return held


def device_bytes(plan: XlaPlan) -> int:
    """Bytes that the fullest device holds."""
    stages = [0] * plan.mesh.stages
    for pool in plan.pools:
        stages[pool.stage] += _bytes(pool.shape, plan.kv_dtype)
    for one in plan.parameters:
        stages[one.stage] += _bytes(one.shape, one.dtype)
    return max(stages)


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return prod(shape) * ITEM_BITS[dtype] // 8


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
