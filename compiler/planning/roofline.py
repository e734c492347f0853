"""How long a device takes for some work by the roofline model, and what the time goes into.

A piece of work takes as long as the slower of its arithmetic and its memory traffic, if both run at
the published peaks and overlap wholly (Williams, Waterman and Patterson, 2009); pieces follow each
other, and what is sent between devices overlaps with nothing.  So times are bounds from below for
each piece, and serve to compare configurations rather than to promise speeds.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass

from ingot.targets import Hardware

FALLBACKS = {"int8": ("int8", "bfloat16", "float32"), "bfloat16": ("bfloat16", "float32")}
"""Where no peak is stated for a type, the product is made in a wider one."""


@dataclass(frozen=True)
class Work:
    """What one operation asks of one device.

    `flops` are of the type `kind` (int8, bfloat16, float32).  `weights`, `kv` and `activations` are
    bytes read and written, `kv` standing for all that sequences keep between steps.  `sent` are
    the bytes that the device sends over its links, in `messages` rounds after each other.
    """

    kind: str = "float32"
    flops: float = 0.0
    weights: float = 0.0
    kv: float = 0.0
    activations: float = 0.0
    sent: float = 0.0
    messages: int = 0


@dataclass(frozen=True)
class Spent:
    """Seconds by what they go into."""

    weights: float = 0.0
    kv: float = 0.0
    activations: float = 0.0
    compute: float = 0.0
    links: float = 0.0

    @property
    def total(self) -> float:
        """All seconds."""
        return float(sum(astuple(self)))

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def times(self, count: float) -> "Spent":
        """Return `count` times the seconds."""
        return Spent(*(count * one for one in astuple(self)))


def peak(hardware: Hardware, kind: str) -> float:
    """Return the operations a second for factors of type `kind`."""
    kinds = FALLBACKS.get(kind, ("float32", "bfloat16"))
    return next(hardware.flops[one] for one in kinds if one in hardware.flops)


def spend(work: Work, hardware: Hardware) -> Spent:
    """Return the time of one piece of work: of arithmetic, or of traffic in proportion to bytes."""
    links = work.messages * hardware.link_latency_s
    if work.sent:
        links += work.sent / hardware.link_bandwidth
    compute = work.flops / peak(hardware, work.kind) if work.flops else 0.0
    read = Spent(work.weights, work.kv, work.activations).times(1 / hardware.memory_bandwidth)
    return (Spent(compute=compute) if compute >= read.total else read) + Spent(links=links)


def spend_all(works: Mapping[Work, int], hardware: Hardware) -> Spent:
    """Return the time of pieces that follow each other; `works` says how often each comes."""
    return sum((spend(work, hardware).times(count) for work, count in works.items()), Spent())
