"""Candidates: configurations with what is predicted of them, and how they rank."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ingot.ir import Mesh

from .memory import Memory
from .pricing import Workload
from .request import Configuration, Request
from .roofline import Spent

Source = Literal["estimate", "program", "compiler"]
"""Where a candidate's numbers come from: parts of the undivided module, the devices' program, or
that program with the memory that the target's compiler states."""


@dataclass(frozen=True)
class Candidate:
    """A configuration and what is predicted of it.

    `memory` are bytes of the fullest device, `capacity` is what it has; `decode` are seconds of a
    step that adds a token to every sequence, `first` seconds to a prompt's first token.  `refusal`
    is why a pass or the compiler would not have it.  `stated` are the bytes that the compiler
    states.
    """

    configuration: Configuration
    load: Workload
    capacity: int
    memory: Memory
    decode: Spent
    first: Spent
    source: Source = "estimate"
    refusal: str = ""
    stated: int = 0

    @property
    def mesh(self) -> Mesh:
        """The devices and their axes."""
        return self.configuration.mesh

    @property
    def bytes(self) -> float:
        """What a device needs: as the compiler states it where that was asked."""
        return self.stated or self.memory.total

    @property
    def excess(self) -> float:
        """The bytes by which a device has too little; 0 where they are enough."""
        return max(0.0, self.bytes - self.capacity)

    @property
    def fits(self) -> bool:
        """Whether every device holds its part, and nothing refused the configuration."""
        return not self.excess and not self.refusal

    @property
    def tokens_per_s(self) -> float:
        """Tokens a second of all sequences together."""
        return self.load.batch / self.decode.total

    @property
    def tokens_per_s_each(self) -> float:
        """Tokens a second of one sequence."""
        return 1 / self.decode.total

    def misses(self, request: Request) -> tuple[str, ...]:
        """Return which of the targets that the user named it misses."""
        late = request.ttft and self.first.total > request.ttft
        slow = request.tokens_per_s and self.tokens_per_s < request.tokens_per_s
        return (*(["TTFT"] if late else []), *(["tokens/s"] if slow else []))

    def rank(self, request: Request) -> tuple[Any, ...]:
        """Return what candidates are sorted by: what fits, what meets the targets, what is fast."""
        if not self.fits:
            return (1, bool(self.refusal), self.excess, 0.0, 0.0)
        return (0, len(self.misses(request)), 0.0, -self.tokens_per_s, self.first.total)

    def refused(self, reason: str) -> "Candidate":
        """Return the candidate with the reason why it cannot be had."""
        return replace(self, refusal=reason)

    def to_json(self, request: Request) -> dict[str, Any]:
        """Return what is known of it as JSON values: bytes, seconds, tokens a second."""
        return {
            "mesh": str(self.mesh) if self.mesh.devices > 1 else "",
            "encoding": self.configuration.encoding,
            "kv_dtype": self.configuration.kv_dtype,
            "options": self.configuration.command(),
            "fits": self.fits,
            "source": self.source,
            "refusal": self.refusal,
            "misses": list(self.misses(request)),
            "memory": {
                **asdict(self.memory),
                "predicted": self.memory.total,
                "stated": self.stated,
                "capacity": self.capacity,
                "excess": self.excess,
            },
            "ttft_s": self.first.total,
            "ttft_by": asdict(self.first),
            "decode_s": self.decode.total,
            "decode_by": asdict(self.decode),
            "tokens_per_s": self.tokens_per_s,
            "tokens_per_s_each": self.tokens_per_s_each,
        }
