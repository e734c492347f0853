"""What a compile made: its size by kind of layer, and how fast it should run and runs."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from ingot.ir import encoding_of, logical_type, shape_of
from ingot.targets import PackedWeight


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
    `decode` and `prefill` were measured, None where this machine cannot run the artifact.
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

    @property
    def parameters(self) -> int:
        """Weights in the artifact; a tied table counts once."""
        return sum(kind.parameters for kind in self.kinds)


def layer_kinds(weights: Iterable[PackedWeight]) -> tuple[LayerKind, ...]:
    """Group packed weights by name and encoding, in the order in which they come."""
    kinds: dict[tuple[str, str, str], LayerKind] = {}
    for weight in weights:
        key = (generic_name(weight.name), encoding_name(weight), weight.packing)
        known = kinds.get(key, LayerKind(*key, count=0, parameters=0, bytes=0))
        kinds[key] = LayerKind(
            *key,
            known.count + 1,
            known.parameters + prod(shape_of(weight.value)),
            known.bytes + weight.num_bytes,
        )
    return tuple(kinds.values())


def generic_name(name: str) -> str:
    """Return a weight's name with `*` for every number that stands alone between dots."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", name)


def encoding_name(weight: PackedWeight) -> str:
    """Return the encoding of a weight, or the type in which its floats are packed."""
    encoding = encoding_of(weight.value)
    return str(encoding or logical_type(weight.value).element_type)


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
