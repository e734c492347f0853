"""What a mesh leaves of an undivided operation to each device: a first estimate, before any pass.

It takes every division as even, and knows the collectives by number and size alone.  It serves to
leave out what cannot win; what remains is costed by the program that the passes write.
"""

from collections import Counter
from dataclasses import replace

from ingot.ir import Experts, Mesh, Op, elements_of

from .roofline import Work
from .sizes import Sizes
from .walking import Step, Visit, name_of
from .work import ATTENTION

DIVIDED = ("linear", "embedding", *ATTENTION)
FLOAT = 4
"""Bytes of an element of an activation."""


def divided(work: Work, visit: Visit, mesh: Mesh) -> Work:
    """Return what a device does of an operation that all devices of a data group share."""
    tp, cp, name = mesh.size("tp"), mesh.size("cp"), name_of(visit.op)
    if isinstance(visit.op, Experts):
        read = _experts_read(visit.op, visit.rows, mesh)
        return _scaled(work, 1 / tp, read / tp, 1 / tp)
    if name in ATTENTION or visit.op.states():
        kv = _kv_share(visit.op, mesh)
        return replace(_scaled(work, 1 / tp / cp, 1.0, 1 / tp), kv=work.kv * kv)
    if name in DIVIDED:
        return _scaled(work, 1 / tp, 1 / tp, 1 / tp)
    return work


def kv_heads_held(op: Op, mesh: Mesh) -> int:
    """Return how many KV heads of an attention a device keeps."""
    heads = int(getattr(op, "kv_heads", 0) or getattr(op, "heads", 1))
    return max(1, heads // mesh.size("tp"))


def _kv_share(op: Op, mesh: Mesh) -> float:
    """Return the part that a device keeps of what an operation keeps of a sequence."""
    heads = int(getattr(op, "kv_heads", 0) or getattr(op, "heads", mesh.size("tp")))
    return max(1, heads / mesh.size("tp")) / heads / mesh.size("cp")


def _experts_read(op: Experts, rows: int, mesh: Mesh) -> float:
    """Return which part of the weights that `op` counts as read lies on one device.

    Choices spread evenly, so a device has as many of them as its own tokens make.
    """
    choices = elements_of(op.indices, rows)
    return min(choices, op.experts // mesh.size("ep")) / min(choices, op.experts)


def _scaled(work: Work, flops: float, weights: float, activations: float) -> Work:
    return replace(
        work,
        flops=work.flops * flops,
        weights=work.weights * weights,
        activations=work.activations * activations,
    )


def collectives(sizes: Sizes, step: Step, mesh: Mesh) -> Counter[Work]:
    """Return what the devices of a mesh send each other in a step, by the usual algorithms.

    Two sums a layer, one of the embedding and the gathering of logits along `tp`; two exchanges a
    layer of experts along `ep`; the parts of attention along `cp`; the hidden rows along `pp`.
    Sums and gathers go around a ring: 2 (n - 1) / n and (n - 1) / n of the bytes, in as many rounds
    as there are others (Thakur, Rabenseifner and Gropp, 2005).
    """
    rows = step.tokens * sizes.hidden * FLOAT
    tp, ep, cp, pp = (mesh.size(axis) for axis in ("tp", "ep", "cp", "pp"))
    found: Counter[Work] = Counter()
    if tp > 1:
        found[ring(rows, tp, passes=2)] += 2 * sizes.layers + 1
        found[ring(step.rows * sizes.vocabulary * FLOAT, tp)] += 1
    if ep > 1:
        found[ring(rows * ep, ep)] += 2 * sizes.layers
    if cp > 1:
        found[ring(rows * cp / tp, cp)] += sizes.layers
    if pp > 1:
        found[Work(sent=rows, messages=1)] += pp - 1
    return found


def ring(total: float, devices: int, passes: int = 1) -> Work:
    """Return what a device sends when `total` bytes go around a ring `passes` times."""
    others = devices - 1
    return Work(sent=passes * total * others / devices, messages=passes * others)
