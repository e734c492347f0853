"""Holds a pass to its contract: the reference interpreter runs the module before and after it.

Where the logits depart further than the contract allows, both modules run again with all their
values compared, so that the error names the operation and its place in the model.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ingot.errors import VerificationError
from ingot.ir import Module

from .base import Pass
from .contract import Contract, relative_error
from .divergence import Difference, compare, first_divergence, record
from .pipeline import Callback, Phase
from .sample import Sample, Weights


@dataclass(frozen=True)
class Check:
    """What holding one pass to its contract gave: the error of the logits, in its metric."""

    step: str
    contract: Contract
    error: float

    @property
    def passed(self) -> bool:
        """Whether the error is allowed; a NaN is not."""
        return self.error <= self.contract.tolerance


def verify_pass(one: Pass, module: Module, weights: Weights, sample: Sample) -> float:
    """Run `one` on `module`, in place, and return its error in the metric of its contract.

    Raises VerificationError, which names pass, operation, place in the model, observed and allowed
    error, if that breaks the contract.
    """
    before = module.clone()
    expected = sample.logits(before, weights)
    one.run(module)
    module.verify(f"after pass {one}")
    check = _check(one, expected, sample.logits(module, weights))
    if not check.passed:
        raise _broken(check, locate(one, before, module, weights, sample))
    return check.error


def verifying(
    weights: Weights, sample: Sample, note: Callable[[Check], None] = lambda check: None
) -> Callback:
    """Return the callback of a pipeline that holds each of its passes to its contract.

    `note` is called with what each check gave, also with the one that fails.
    """
    latest: list[Tensor] = []
    copies: list[Module] = []

    def check(one: Pass, module: Module, phase: Phase) -> None:
        if phase == "before":
            copies[:] = [module.clone()]
            if not latest:
                latest.append(sample.logits(module, weights))
            return
        logits = sample.logits(module, weights)
        found = _check(one, latest.pop(), logits)
        latest.append(logits)
        note(found)
        if not found.passed:
            raise _broken(found, locate(one, copies.pop(), module, weights, sample))

    return check


def locate(
    one: Pass, before: Module, after: Module, weights: Weights, sample: Sample
) -> Difference | None:
    """Return the operation of `after` at which it departs from `before`, None if none is found."""
    contract = one.promise()
    differences = compare(
        record(before, weights, sample).values,
        record(after, weights, sample).values,
        sample,
        metric=contract.metric,
        tolerance=contract.tolerance,
    )
    return first_divergence(differences, contract.tolerance)


def measure(contract: Contract, expected: Tensor, found: Tensor) -> float:
    """Return how far `found` lies from `expected`, relative, in the metric of `contract`."""
    return relative_error(expected, found, contract.metric)


def _check(one: Pass, expected: Tensor, found: Tensor) -> Check:
    contract = one.promise()
    if expected.shape != found.shape:
        return Check(str(one), contract, float("inf"))
    return Check(str(one), contract, measure(contract, expected, found))


def _broken(check: Check, culprit: Difference | None) -> VerificationError:
    contract = check.contract
    lines = [
        f"changes the logits by {check.error:.3g} of their size ({contract.metric}); "
        f"its contract is {contract}, which allows {contract.tolerance:g}"
    ]
    if culprit is not None:
        lines.append(f"first operation that departs: {culprit}, by {culprit.error:.3g}")
    return VerificationError(
        "\n  ".join(lines),
        where=f"pass {check.step}",
        hint="Compare the module before and after the pass: --save-stages DIR writes both.",
    )
