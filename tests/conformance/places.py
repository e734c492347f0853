"""Where the same models are to run alike: every target, and every way to divide a model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ingot.runtime.cpu_level import supported_levels
from ingot.targets import Settings

FLOAT32 = Settings(linear="none", dtype="float32", kv_dtype="float32")
XLA = replace(FLOAT32, kv_pages=64, decode_batches=(4,), prefill_tokens=(80,))


@dataclass(frozen=True)
class Place:
    """A target under some settings; `experts` says that only a model of experts has use for it."""

    target: str
    settings: Settings
    experts: bool = False


def _devices(mesh: str, *, sequence: bool = False, experts: bool = False) -> Place:
    settings = replace(XLA, mesh=mesh, sequence_parallel=sequence)
    return Place("xla:cpu", settings, experts)


PLACES: Mapping[str, Place] = {
    "cpu": Place("cpu", replace(FLOAT32, levels=supported_levels()[-1:])),
    "xla": Place("xla:cpu", XLA),
    "tp2": _devices("tp2"),
    "tp4": _devices("tp4"),
    "tp8": _devices("tp8"),
    "dp2xtp4": _devices("dp2xtp4"),
    "ep4": _devices("ep4", experts=True),
    "tp2xep4": _devices("tp2xep4", experts=True),
    "pp2": _devices("pp2"),
    "cp2": _devices("cp2"),
    "sequence": _devices("tp2", sequence=True),
}
