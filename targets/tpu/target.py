"""The target family `tpu`: every topology of v4, v5e, v5p, v6e and TPU7x that libtpu knows."""

from ingot.targets.base import Target
from ingot.targets.xla.family import Member, target_of
from ingot.targets.xla.steps import ACCELERATOR

from .variants import DEFAULT, platform_of


def open_variant(variant: str) -> Target:
    """Return the target of a variant, as in `v5e-8` or `v5p:2x2x2`; raise `UsageError` for others.

    The family's name alone stands for eight chips of v5e.
    """
    return target_of(member_of(variant))


def member_of(variant: str) -> Member:
    """Return what there is to know of a variant."""
    platform, hardware = platform_of(variant or DEFAULT)
    return Member(
        family="tpu",
        variant=variant or DEFAULT,
        description=f"StableHLO, compiled by libtpu for {platform.topology}",
        platform=platform,
        sizes=ACCELERATOR,
        compute="bfloat16",
        hardware=hardware,
        roll=True,
    )
