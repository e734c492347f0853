"""The numeric contract of a pass: how far its result may lie from its input.

Every pass states one, and `verify_pass` holds it to that on sample weights and inputs.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Contract:
    """How the logits of a module after a pass may differ from those before.

    `exact`: the same function of real numbers, whatever the order of its sums; checked in float64
    to 1e-9 of the largest logit.  `rounding`: numbers are kept to a coarser float type, and the
    largest difference over the largest logit is at most `tolerance`.  `lossy`: fewer bits are
    stored or computed with; `metric` says what is measured and `tolerance` is its budget.
    """

    kind: Literal["exact", "rounding", "lossy"]
    tolerance: float
    metric: str = "largest"

    def __str__(self) -> str:
        if self.kind == "exact":
            return "exact"
        if self.kind == "rounding":
            return f"rounding({self.tolerance:g})"
        return f"lossy({self.metric}, {self.tolerance:g})"


EXACT = Contract("exact", 1e-9)


def rounding(tolerance: float) -> Contract:
    """Return the contract of a pass that keeps numbers to a coarser float type."""
    return Contract("rounding", tolerance)


def lossy(metric: str, budget: float) -> Contract:
    """Return the contract of a pass that stores or computes with fewer bits.

    `metric` is `largest` (largest difference over largest logit) or `rms` (root mean square of the
    difference over that of the logits).
    """
    assert metric in ("largest", "rms"), metric
    return Contract("lossy", budget, metric)


def relative_error(expected: Tensor, found: Tensor, metric: str = "largest") -> float:
    """Return how far `found` lies from `expected` in units of its size, 0 where both are 0.

    `metric` is that of a contract; NaN where either holds a NaN.
    """
    difference = (found - expected).double()
    size = expected.double()
    if metric == "rms":
        error, scale = difference.square().mean().sqrt(), size.square().mean().sqrt()
    else:
        error, scale = difference.abs().max(), size.abs().max()
    return 0.0 if not error else float(error / scale)
