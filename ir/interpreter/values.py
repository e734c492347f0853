"""What a value of the IR is while the interpreter runs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from ingot.ir.quant_tensor import QuantTensor

CacheKey = int | tuple[int, int]
"""A layer; a layer and a device where a mesh runs the step."""


@dataclass
class Batch:
    """The state of a step: which tokens belong to which sequence, and what is cached.

    Tokens of sequence s are `starts[s]` to `starts[s + 1]`.  `rows` are the indices of the tokens
    whose logits are wanted, None for all.  `caches[s][layer]` is the KV history of a sequence: k
    and v, each `[tokens so far, kv_heads, head_dim]`; attention appends to it.
    `states[s][layer, name]` is what a convolution or a scan carries from token to token.
    `token_types` are the segments of the tokens, None where all are 0.  `groups[s]` is the data
    group of a mesh that runs a sequence, None: s modulo their number.  Where a mesh runs the step,
    the keys of caches are `(layer, device)`, and the names of states end in `@device`.
    """

    starts: list[int]
    rows: list[int] | None = None
    caches: list[dict[CacheKey, tuple[Tensor, Tensor]]] = field(default_factory=list)
    states: list[dict[tuple[int, str], Tensor]] = field(default_factory=list)
    token_types: list[int] | None = None
    groups: list[int] | None = None

    def __post_init__(self) -> None:
        assert self.starts[0] == 0 and self.starts == sorted(self.starts), self.starts
        while len(self.caches) < len(self.starts) - 1:
            self.caches.append({})
        while len(self.states) < len(self.starts) - 1:
            self.states.append({})

    @classmethod
    def single(cls, tokens: int) -> "Batch":
        """Return the state of one new sequence, all of whose logits are wanted."""
        return cls([0, tokens])

    def spans(self) -> Iterator[tuple[int, int]]:
        """Return the first token of each sequence and the one after its last."""
        return pairwise(self.starts)

    def state(
        self, sequence: int, layer: int, name: str, shape: tuple[int, ...], like: Tensor
    ) -> Tensor:
        """Return what a sequence carries under `name`: zeros, of `like`'s type, if it is new."""
        known = self.states[sequence].get((layer, name))
        return like.new_zeros(shape) if known is None else known

    def keep(self, sequence: int, layer: int, name: str, state: Tensor) -> None:
        """Replace what a sequence carries under `name`."""
        self.states[sequence][layer, name] = state

    def cached(self, sequence: int, layer: int) -> int:
        """Return how many tokens of a sequence the cache of `layer` holds."""
        cache = self.caches[sequence]
        return len(cache[layer][0]) if layer in cache else 0

    def append(self, sequence: int, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add k and v `[tokens, kv_heads, head_dim]` to a cache and return all of it."""
        cache = self.caches[sequence]
        if layer in cache:
            past_k, past_v = cache[layer]
            k, v = torch.cat([past_k, k]), torch.cat([past_v, v])
        cache[layer] = (k, v)
        return k, v


Datum = Tensor | QuantTensor | Batch
