"""What a compile made: its size by kind of layer, and how fast it should run and runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .records import CheckRecord, PassRecord, StageTime


@dataclass(frozen=True)
class LayerKind:
    """All weights of one name, layer numbers aside, and of one encoding.

    `bytes` are as packed, padding included; `bits_per_weight` are those of the encoding alone where
    it is quantised.
    """

    name: str
    encoding: str
    packing: str
    count: int
    parameters: int
    bytes: int

    @property
    def bits_per_weight(self) -> float:
        """Bits that a weight takes in the artifact, padding included."""
        return 8 * self.bytes / self.parameters


@dataclass(frozen=True)
class Speed:
    """Tokens a second on this machine.

    `estimated` is what its read bandwidth (bytes a second) allows for decoding one sequence;
    `decode` and `prefill` were measured, None where this machine cannot run the artifact; a model
    that pools has no `decode`.
    """

    bandwidth: float
    estimated: float
    decode: float | None = None
    prefill: float | None = None


@dataclass(frozen=True)
class Report:
    """The result of a compile.  What depends on the machine is here and not in the artifact."""

    artifact: Path
    bytes: int
    kinds: tuple[LayerKind, ...]
    pipeline: str
    step_bytes: int
    levels: tuple[str, ...]
    seconds: float
    peak_memory: int
    speed: Speed | None = None
    passes: tuple[PassRecord, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    stages: tuple[StageTime, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    devices: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Weights in the artifact; a tied table counts once."""
        return sum(kind.parameters for kind in self.kinds)


def kinds_from_json(report: Mapping[str, Any]) -> tuple[LayerKind, ...]:
    """Return the kinds of layer that a manifest's report lists."""
    names = [one.name for one in fields(LayerKind)]
    return tuple(LayerKind(**{name: kind[name] for name in names}) for kind in report["kinds"])


def report_json(kinds: Sequence[LayerKind], step_bytes: int) -> dict[str, Any]:
    """Return what the manifest says of sizes: nothing that depends on the machine."""
    return {
        "weight_bytes": sum(kind.bytes for kind in kinds),
        "parameters": sum(kind.parameters for kind in kinds),
        "bytes_read_per_token": step_bytes,
        "kinds": [
            {**asdict(kind), "bits_per_weight": round(kind.bits_per_weight, 3)} for kind in kinds
        ],
    }
