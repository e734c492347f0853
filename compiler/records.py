"""What is kept of passes and stages of a compile: plain values, for the serving install too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Counts = dict[str, int]
"""Operations by name, in the order of the names."""


@dataclass(frozen=True)
class Measures:
    """A module in numbers: its operations, and where they were asked for, bytes and FLOPs.

    `weight_bytes` are those of all weights as the step reads them; `flops` and `moved` (bytes) are
    of decoding one token.
    """

    ops: Counts
    weight_bytes: float = 0.0
    flops: float = 0.0
    moved: float = 0.0

    @property
    def total(self) -> int:
        """The number of all operations."""
        return sum(self.ops.values())


@dataclass(frozen=True)
class PassRecord:
    """What one pass did: its text, its contract, its seconds, and the module before and after."""

    text: str
    contract: str
    seconds: float
    before: Measures
    after: Measures


@dataclass(frozen=True)
class StageTime:
    """Seconds of one stage of a compile.

    `processor_seconds` are those of all threads, and of the processes that ended in this stage:
    kernels that are compiled while weights are written count where they are waited for.
    """

    name: str
    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class CheckRecord:
    """What holding a pass to its contract gave.

    `error` is that of the logits, relative, in the contract's `metric`; `allowed` is its budget.
    """

    step: str
    contract: str
    metric: str
    error: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the error is allowed; a NaN is not."""
        return self.error <= self.allowed

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest says of it.

        The error has two digits, and is 0 below a thousandth of what is allowed: the rest is noise
        of the order of sums, and would make artifacts differ between machines.
        """
        error = 0.0 if self.error < self.allowed / 1000 else float(f"{self.error:.1e}")
        return {
            "pass": self.step,
            "contract": self.contract,
            "metric": self.metric,
            "error": error,
            "allowed": self.allowed,
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "CheckRecord":
        """Return what an entry of the manifest says."""
        values = {name: entry[name] for name in ("contract", "metric", "error", "allowed")}
        return cls(step=entry["pass"], **values)
