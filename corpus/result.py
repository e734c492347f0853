"""What came of one model of the corpus."""

from dataclasses import dataclass, field
from enum import StrEnum


class NotBuilt(Exception):
    """transformers could not build, save or run the model."""


class Verdict(StrEnum):
    """What can be said of an architecture, best first."""

    RAISED = "raised"
    """Right, and every operation is one of the `lm` dialect."""
    GENERIC = "generic"
    """Right, with operations that take the generic route."""
    REFUSED = "refused"
    """A message says what is not supported."""
    BROKEN = "broken"
    """An error that is no message to a user, a crash, or no end within the time."""
    WRONG = "WRONG"
    """An answer that is not transformers' answer."""
    NOT_BUILT = "not built"
    """transformers itself could not build or run it at a small size."""


@dataclass(frozen=True)
class Result:
    """One model: verdict, what explains it, the largest relative error of its logits, seconds.

    `generic` counts the operations of remainders by name.  `trace` is for whoever looks into it.
    """

    name: str
    verdict: Verdict
    architecture: str = ""
    detail: str = ""
    error: float | None = None
    generic: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    trace: str = ""

    @property
    def right(self) -> bool:
        """Whether the model computes what transformers computes."""
        return self.verdict in (Verdict.RAISED, Verdict.GENERIC)
