"""What compiling a program gave: the executable, its memory, and what the compiler made of it."""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

from ingot.executables import Entry


@dataclass(frozen=True)
class Memory:
    """Bytes of one device: `aliased` is what of the outputs takes the place of arguments."""

    arguments: int
    outputs: int
    aliased: int
    temporaries: int
    code: int

    @property
    def total(self) -> int:
        """Bytes that a device holds while the program runs."""
        return self.arguments + self.outputs - self.aliased + self.temporaries + self.code

    def to_json(self) -> dict[str, int]:
        """Return the fields and their total as plain values."""
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True)
class Compiled:
    """An executable for `devices` devices, and what its compiler says of it.

    `flops` are those of one device as XLA counts them in the optimised program, where a loop's
    body counts once.  `seconds` is how long XLA took, also where `cached` says that it did so
    another time.
    """

    executable: bytes
    memory: Memory
    packed_hlo: bytes
    flops: float
    seconds: float
    build: str
    devices: int
    cached: bool = False

    @cached_property
    def hlo(self) -> str:
        """The text of the optimised program."""
        return zlib.decompress(self.packed_hlo).decode()

    def entry(self) -> Entry:
        """Return what the cache keeps."""
        facts = {
            "memory": asdict(self.memory),
            "flops": self.flops,
            "seconds": self.seconds,
            "build": self.build,
            "devices": self.devices,
            "hlo": base64.b64encode(self.packed_hlo).decode(),
        }
        return Entry(self.executable, facts)

    @classmethod
    def from_entry(cls, entry: Entry) -> Self | None:
        """Return what `entry` keeps; None where it was kept without what a compiler says."""
        facts = entry.facts
        if "hlo" not in facts:
            return None
        return cls(
            entry.executable,
            Memory(**facts["memory"]),
            base64.b64decode(facts["hlo"]),
            facts["flops"],
            facts["seconds"],
            facts["build"],
            facts["devices"],
            cached=True,
        )


@dataclass(frozen=True)
class TopologyFacts:
    """What the compiler says of a topology: the kind of a device, and where each one stands.

    `coordinates` are those of the chip, then the place on the chip.
    """

    kind: str
    coordinates: tuple[tuple[int, ...], ...]

    @classmethod
    def from_reply(cls, reply: Mapping[str, Any]) -> Self:
        """Return what the worker answered."""
        return cls(reply["kind"], tuple(tuple(one) for one in reply["coordinates"]))
