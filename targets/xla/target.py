"""The target family `xla`: one lowering, for virtual CPU devices and for NVIDIA GPUs.

`xla:cpu` runs on as many virtual devices of this machine as the mesh has.  `xla:cuda-sm80` and
`xla:cuda-sm90` are compiled without a GPU; `a100`, `a800`, `h100` and `h800` name the same by card.
"""

from ingot.targets.base import Target
from ingot.targets.finding import unknown_variant
from ingot.targets.hardware import A100, A800, H100, H800, Hardware

from .family import Member, target_of
from .platform import Platform
from .steps import ACCELERATOR, CPU

GPUS: dict[str, tuple[str, Hardware]] = {
    "cuda-sm80": ("sm80", A100),
    "cuda-sm90": ("sm90", H100),
    "a100": ("sm80", A100),
    "a800": ("sm80", A800),
    "h100": ("sm90", H100),
    "h800": ("sm90", H800),
}

VARIANTS = ("cpu", *GPUS)


def open_variant(variant: str) -> Target:
    """Return the target of a variant; raise `UsageError` for one that there is not."""
    return target_of(member_of(variant))


def member_of(variant: str) -> Member:
    """Return what there is to know of a variant; the family's name alone stands for `cpu`."""
    if variant in ("", "cpu"):
        # XLA widens weights of bfloat16 at every step on a CPU, so they are widened once.
        return Member(
            family="xla",
            variant="cpu",
            description="StableHLO, run by XLA on virtual devices of this machine",
            platform=Platform("cpu"),
            sizes=CPU,
            compute="float32",
            ahead=False,
            variants=VARIANTS,
        )
    if variant not in GPUS:
        raise unknown_variant("xla", variant, VARIANTS)
    architecture, hardware = GPUS[variant]
    return Member(
        family="xla",
        variant=variant,
        description=f"StableHLO, compiled by XLA for {hardware.name} and its like",
        platform=Platform("cuda", architecture),
        sizes=ACCELERATOR,
        compute="bfloat16",
        hardware=hardware,
        variants=VARIANTS,
    )
