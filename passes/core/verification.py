"""Holds a pass to its contract: the reference interpreter runs the module before and after it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ingot.errors import VerificationError
from ingot.ir import (
    Batch,
    Module,
    Quant,
    QuantTensor,
    Weight,
    quantize,
    run_step,
    shape_of,
    torch_dtype,
)

from .base import Pass
from .blocks import blocks
from .contract import Contract
from .pipeline import Callback, Phase

Weights = Mapping[str, Tensor | QuantTensor]


@dataclass(frozen=True)
class Sample:
    """Inputs of one step: `tokens` `[T]`, and where each of its new sequences starts, `[S + 1]`."""

    tokens: Tensor
    starts: tuple[int, ...]

    @property
    def positions(self) -> Tensor:
        """The place of each token in its sequence, `[T]`."""
        spans = zip(self.starts, self.starts[1:], strict=False)
        return torch.cat([torch.arange(end - start) for start, end in spans])

    def logits(self, module: Module, weights: Weights) -> Tensor:
        """Return the logits `[T, vocabulary]` of one step, computed in float64."""
        batch = Batch(list(self.starts))
        return run_step(module, weights, self.tokens, self.positions, batch, torch.float64)


def random_sample(vocabulary: int, lengths: tuple[int, ...] = (7, 1, 5), seed: int = 0) -> Sample:
    """Return a step of sequences of random tokens below `vocabulary`."""
    generator = torch.Generator().manual_seed(seed)
    starts = [sum(lengths[:index]) for index in range(len(lengths) + 1)]
    return Sample(torch.randint(vocabulary, (starts[-1],), generator=generator), tuple(starts))


def random_weights(module: Module, seed: int = 0) -> dict[str, Tensor | QuantTensor]:
    """Return a tensor for every `lm.weight`, of its type: matrices that keep the scale of their
    input, vectors near 1."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor | QuantTensor] = {}
    for block in blocks(module):
        for op in block.operations:
            if isinstance(op, Weight) and op.symbol not in found:
                found[op.symbol] = _random(op, generator)
    return found


def verify_pass(one: Pass, module: Module, weights: Weights, sample: Sample) -> float:
    """Run `one` on `module`, in place, and return its error in the metric of its contract.

    Raises VerificationError, which names the pass and the error, if that breaks the contract.
    """
    expected = sample.logits(module, weights)
    one.run(module)
    module.verify(f"after pass {one}")
    return _checked(one, expected, sample.logits(module, weights))


def verifying(weights: Weights, sample: Sample) -> Callback:
    """Return the callback of a pipeline that holds each of its passes to its contract."""
    latest: list[Tensor] = []

    def check(one: Pass, module: Module, phase: Phase) -> None:
        if phase == "before" and latest:
            return
        logits = sample.logits(module, weights)
        if phase == "after":
            _checked(one, latest.pop(), logits)
        latest.append(logits)

    return check


def _checked(one: Pass, expected: Tensor, found: Tensor) -> float:
    """Return the error of a pass; raise VerificationError if it breaks the contract."""
    contract = one.promise()
    error = measure(contract, expected, found)
    if not error <= contract.tolerance:
        raise VerificationError(
            f"changes the logits by {error:.3g} of their size ({contract.metric}); "
            f"its contract is {contract}",
            where=f"pass {one}",
            hint="Compare the module before and after the pass: INGOT_DUMP=DIR writes both.",
        )
    return error


def measure(contract: Contract, expected: Tensor, found: Tensor) -> float:
    """Return how far `found` lies from `expected`, relative, in the metric of `contract`."""
    difference = (found - expected).double()
    if contract.metric == "rms":
        return float(difference.square().mean().sqrt() / expected.double().square().mean().sqrt())
    return float(difference.abs().max() / expected.abs().max())


def _random(op: Weight, generator: torch.Generator) -> Tensor | QuantTensor:
    sizes = shape_of(op.out)
    values = torch.randn(sizes, generator=generator)
    values = values / sizes[-1] ** 0.5 if len(sizes) > 1 else 1 + 0.1 * values
    if isinstance(op.out.type, Quant):
        return quantize(values, op.out.type.encoding)
    return values.to(torch_dtype(op.out))
