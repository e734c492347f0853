"""The target `null`: all of a compile but a program, from the passes to packed weights and plan.

`null` takes any mesh.  `null:tpu:v5e-8` does what `tpu:v5e-8` does up to the programs, so that a
compile for it can be planned where its compiler is not installed.
"""

from dataclasses import replace

from ingot.targets.base import Target
from ingot.targets.finding import unknown_variant
from ingot.targets.tpu.target import member_of as tpu_member
from ingot.targets.xla.family import Member, target_of
from ingot.targets.xla.platform import Platform
from ingot.targets.xla.steps import CPU
from ingot.targets.xla.target import member_of as xla_member

VARIANTS = ("xla:cpu", "xla:h100", "tpu:v5e-8")
"""Some of them: whatever is called so in the other families."""

ANY = Member(
    family="null",
    variant="",
    description="everything of a compile, and nothing to run",
    platform=Platform("none"),
    sizes=CPU,
    compute="float32",
    ahead=False,
    variants=VARIANTS,
)
FAMILIES = {"tpu": tpu_member, "xla": xla_member}


def open_variant(variant: str) -> Target:
    """Return the target that stands for another, "" for none; raise `UsageError` for unknown."""
    if not variant:
        return target_of(ANY, runs=False)
    family, _, rest = variant.partition(":")
    if family not in FAMILIES:
        raise unknown_variant("null", variant, VARIANTS)
    member = FAMILIES[family](rest)
    return target_of(replace(member, family="null", variant=variant, ahead=False), runs=False)
