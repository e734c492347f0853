"""The target family `tpu`: every topology of v4, v5e, v5p, v6e and TPU7x that libtpu knows."""

from ingot.targets.base import Target
from ingot.targets.xla.family import Member, target_of
from ingot.targets.xla.steps import ACCELERATOR

from .topologies import GENERATIONS, find_topology

DEFAULT = "v5e-8"
VARIANTS = (
    *(f"{one.name}-{{{','.join(map(str, one.shapes))}}}" for one in GENERATIONS.values()),
    "v5p:2x2x2",
)
"""Names with the numbers that may stand behind them, and a shape of chips as an example."""


def open_variant(variant: str) -> Target:
    """Return the target of a variant, as in `v5e-8` or `v5p:2x2x2`; raise `UsageError` for others.

    The family's name alone stands for eight chips of v5e.
    """
    return target_of(member_of(variant))


def member_of(variant: str) -> Member:
    """Return what there is to know of a variant."""
    topology = find_topology(variant or DEFAULT)
    return Member(
        family="tpu",
        variant=variant or DEFAULT,
        description=f"StableHLO, compiled by libtpu for {topology.text}",
        platform=topology.platform,
        sizes=ACCELERATOR,
        compute="bfloat16",
        hardware=topology.generation.hardware,
        roll=True,
        variants=VARIANTS,
    )
