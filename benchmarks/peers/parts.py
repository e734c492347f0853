"""The parts of the measurement: what is asked of every runtime, and how often."""

from dataclasses import dataclass

from .forms import Form
from .runners import Load

LONG = 4096
SHORT = 512
PROMPT = 32
"""Tokens of each prompt where several sequences decode together."""
AVX2_PEERS = ("ingot", "llama.cpp")
"""Those that can be told not to use AVX-512."""
DROPPED_BELOW = 2 / 3
"""A peer's form with less of the fastest peer's rate is measured no more in that part."""


@dataclass(frozen=True)
class Part:
    """One thing to measure.

    `kind`: `rate` for tokens a second, `start` and `memory` for a fresh process, `beside` for rates
    with and without a busy neighbour, `avx2` for rates without AVX-512.  `rounds` is the most
    rounds that are useful, `tries` the rounds in which slow forms still take part.
    """

    name: str
    kind: str
    load: Load
    widths: tuple[str, ...] = ("int4",)
    rounds: int = 99
    tries: int = 2

    def takes(self, form: Form) -> bool:
        """Whether a form takes part: of the widths, and without AVX-512 what can do without."""
        return form.width in self.widths and (self.kind != "avx2" or form.peer in AVX2_PEERS)


PARTS = (
    Part("single", "rate", Load(1, SHORT, 65), ("int4", "int8", "bf16")),
    *(Part(f"batch-{n}", "rate", Load(n, PROMPT, 49), rounds=5, tries=1) for n in (4, 8, 16)),
    Part("long", "rate", Load(1, LONG, 33), rounds=3, tries=1),
    Part("start", "start", Load(1, 16, 1)),
    Part("memory-short", "memory", Load(1, SHORT, 9), rounds=1),
    Part("memory-long", "memory", Load(1, LONG, 9), rounds=1),
    Part("neighbour", "beside", Load(1, PROMPT, 65), rounds=3),
    Part("avx2", "avx2", Load(1, SHORT, 65)),
)
GROUPS = tuple(dict.fromkeys(part.name.split("-")[0] for part in PARTS))
CAPACITY = max(part.load.tokens for part in PARTS if part.kind in ("rate", "beside", "avx2"))
"""Tokens that the KV cache of a runner that stays loaded has to hold."""


def in_groups(groups: tuple[str, ...]) -> tuple[Part, ...]:
    """Return the parts whose name begins with one of `groups`."""
    return tuple(part for part in PARTS if part.name.split("-")[0] in groups)
