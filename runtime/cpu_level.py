"""Choose which of an artifact's kernel objects this machine runs.

The levels and what each needs stand in docs/architecture.md, section 5.
"""

from collections.abc import Collection

from ingot.errors import ArtifactError, UsageError
from ingot.knobs import CPU_LEVEL

from . import _native

LEVELS = ("generic", "avx2", "avx512")
"""From the least demanding to the fastest."""


def supported_levels() -> tuple[str, ...]:
    """The levels that this machine runs, the fastest last."""
    return LEVELS[: LEVELS.index(_native.cpu_level()) + 1]


def choose_level(carried: Collection[str]) -> str:
    """Return the fastest of the levels `carried` that this machine runs, or INGOT_CPU_LEVEL's.

    Raises `ArtifactError` where there is none, `UsageError` where the knob asks for another.
    """
    usable = [level for level in supported_levels() if level in carried]
    wanted = CPU_LEVEL.get()
    if wanted is not None and wanted not in usable:
        raise UsageError(
            f"kernels for {wanted} cannot be used here (usable: {', '.join(usable) or 'none'})",
            where=CPU_LEVEL.name,
            hint="Unset it, or compile the model again on this machine.",
        )
    if not usable:
        raise ArtifactError(
            f"it holds kernels for {', '.join(sorted(carried)) or 'no CPU'}, this machine runs "
            f"{', '.join(supported_levels())}",
            hint="Compile the model again on this machine.",
        )
    return wanted or usable[-1]
