"""Sample inputs and weights for running a module: steps of a ragged batch, caches included."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ingot.ir import (
    Batch,
    Module,
    Quant,
    QuantTensor,
    Value,
    Watch,
    Weight,
    elements_of,
    interpreter_of,
    quantize,
    shape_of,
    torch_dtype,
)

from .blocks import blocks

Weights = Mapping[str, Tensor | QuantTensor]

KEPT_ELEMENTS = 1 << 29
"""Elements of weights up to which evaluated weights are kept from one step to the next."""


@dataclass(frozen=True)
class Sample:
    """Inputs of one step: `tokens` `[T]`, and where each of its sequences starts, `[S + 1]`.

    `past` tokens of each sequence are cached (none where it is short); `rows` are the tokens whose
    logits count, None for all.  `following` is the next step, which goes on from this one's caches.
    """

    tokens: Tensor
    starts: tuple[int, ...]
    past: tuple[int, ...] = ()
    rows: tuple[int, ...] | None = None
    following: "Sample | None" = None

    @property
    def positions(self) -> Tensor:
        """The place of each token in its sequence, `[T]`."""
        spans = zip(self.starts, self.starts[1:], strict=False)
        lengths = [end - start for start, end in spans]
        past = [*self.past, *[0] * (len(lengths) - len(self.past))]
        places = [torch.arange(p, p + n) for p, n in zip(past, lengths, strict=True)]
        return torch.cat(places)

    @property
    def steps(self) -> Iterator["Sample"]:
        """This step and those that follow it."""
        step: Sample | None = self
        while step is not None:
            yield step
            step = step.following

    def logits(
        self,
        module: Module,
        weights: Weights,
        watch: Watch | None = None,
        unencoded: Collection[Value] = (),
    ) -> Tensor:
        """Return the logits `[rows of all steps, vocabulary]`, computed in float64.

        `watch` sees every intermediate value; `unencoded` are weight expressions in which nothing
        is to be encoded.
        """
        keep = _elements(module) <= KEPT_ELEMENTS
        interpreter = interpreter_of(
            module, weights, torch.float64, watch=watch, keep=keep, unencoded=unencoded
        )
        batch: Batch | None = None
        found = []
        for step in self.steps:
            rows = None if step.rows is None else list(step.rows)
            starts = list(step.starts)
            batch = (
                Batch(starts, rows) if batch is None else replace(batch, starts=starts, rows=rows)
            )
            logits = interpreter.step(step.tokens, step.positions, batch)
            found.append(step.wanted(logits))
        return torch.cat(found)

    def wanted(self, values: Tensor) -> Tensor:
        """Return the rows that count of values `[T, …]`; rows selected already are left alone."""
        if self.rows is None or len(values) != len(self.tokens):
            return values
        return values[list(self.rows)]


def random_sample(vocabulary: int, lengths: tuple[int, ...] = (7, 1, 5), seed: int = 0) -> Sample:
    """Return two steps of random tokens below `vocabulary`.

    The first is of new sequences of `lengths` tokens.  In the second each goes on by one to three
    tokens, a new one of two tokens joins, and only the last token of each counts.
    """
    generator = torch.Generator().manual_seed(seed)
    added = (*(1 + (index + seed) % 3 for index in range(len(lengths))), 2)

    def tokens(count: int) -> Tensor:
        return torch.randint(vocabulary, (count,), generator=generator)

    first = tokens(sum(lengths))
    starts = _starts(added)
    rows = tuple(end - 1 for end in starts[1:])
    second = Sample(tokens(starts[-1]), starts, past=lengths, rows=rows)
    return Sample(first, _starts(lengths), following=second)


def random_weights(module: Module, seed: int = 0) -> dict[str, Tensor | QuantTensor]:
    """Return a tensor for every `lm.weight`, of its type: matrices that keep the scale of their
    input, vectors near 1."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor | QuantTensor] = {}
    for op in _weight_ops(module):
        if op.symbol not in found:
            found[op.symbol] = _random(op, generator)
    return found


def _starts(lengths: Sequence[int]) -> tuple[int, ...]:
    return tuple(sum(lengths[:index]) for index in range(len(lengths) + 1))


def _weight_ops(module: Module) -> Iterator[Weight]:
    for block in blocks(module):
        for op in block.operations:
            if isinstance(op, Weight):
                yield op


def _elements(module: Module) -> int:
    return sum(elements_of(op.out, 0) for op in _weight_ops(module))


def _random(op: Weight, generator: torch.Generator) -> Tensor | QuantTensor:
    sizes = shape_of(op.out)
    values = torch.randn(sizes, generator=generator)
    values = values / sizes[-1] ** 0.5 if len(sizes) > 1 else 1 + 0.1 * values
    if isinstance(op.out.type, Quant):
        return quantize(values, op.out.type.encoding)
    return values.to(torch_dtype(op.out))
