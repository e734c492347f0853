"""Choose which of an artifact's kernel objects this machine runs.

The levels and what each needs stand in docs/architecture.md, section 5.  A processor may have
`vdpbf16ps` and be faster without: that is measured when a model is loaded, in less than a
millisecond.
"""

from collections.abc import Collection, Mapping

from ingot.errors import ArtifactError, UsageError
from ingot.knobs import CPU_LEVEL

from . import _native

LEVELS = ("generic", "avx2", "avx512", "avx512bf16")
"""From the least demanding to the most."""

BASES: Mapping[str, str] = {"avx512bf16": "avx512"}
"""The level whose object holds what an object of the other leaves out."""

_LEAST_GAIN = 1.2


def supported_levels() -> tuple[str, ...]:
    """The levels that this machine runs, the most demanding last."""
    return LEVELS[: LEVELS.index(_native.cpu_level()) + 1]


def choose_level(carried: Collection[str]) -> str:
    """Return the fastest of the levels `carried` that this machine runs, or INGOT_CPU_LEVEL's.

    Of `avx512` and `avx512bf16` it is the one whose products of bfloat16 are faster here.
    Raises `ArtifactError` where there is none, `UsageError` where the knob asks for another.
    """
    usable = [level for level in supported_levels() if _objects_of(level) <= set(carried)]
    wanted = CPU_LEVEL.get()
    if wanted in supported_levels() and wanted not in carried:
        wanted = BASES.get(wanted, wanted)  # there is no object where no kernel would differ
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
    if wanted is None and usable[-1] in BASES and _native.bf16_speed() < _LEAST_GAIN:
        return BASES[usable[-1]]
    return wanted or usable[-1]


def _objects_of(level: str) -> set[str]:
    """Return the levels whose objects hold the kernels of `level`."""
    return {level, BASES.get(level, level)}
