"""What the engine knows of a sampler: one row of logits and one request in, one token out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .outputs import TokenLogprob
from .request import Request


@dataclass(frozen=True, slots=True)
class Sampled:
    """The next token of one request, with its log-probability where it was asked for."""

    token_id: int
    logprob: TokenLogprob | None = None


class Sampler(Protocol):
    """Chooses tokens.  A choice depends on the row, the parameters, the seed, the tokens so far and
    their number, and on nothing else: not on the other rows, nor on any earlier call.  So a request
    that is recomputed after a preemption goes on as it would have."""

    def sample(self, logits: NDArray[np.float32], requests: Sequence[Request]) -> Sequence[Sampled]:
        """Choose a token for each row of `logits` `[len(requests), vocab]`."""
        ...
