"""Recognises a choice among groups of experts, the first step of DeepSeek's routers."""

from dataclasses import dataclass
from math import inf
from typing import Any

from ingot.ir import DYNAMIC, Value, torch_dialect
from ingot.passes.bridging import integer, integers, is_number, number, same, shape
from ingot.passes.core import producer

_REARRANGES = (
    torch_dialect.AtenViewOp
    | torch_dialect.Aten_UnsafeViewOp
    | torch_dialect.AtenReshapeOp
    | torch_dialect.AtenExpandOp
    | torch_dialect.AtenUnsqueezeOp
    | torch_dialect.Aten_ToCopyOp
)


@dataclass(frozen=True)
class Grouping:
    """How many groups there are, how many are chosen, by what; `fill` masks the others' scores."""

    groups: int = 1
    chosen: int = 1
    score: str = "max"
    fill: float = -inf

    def fits(self, score: str, biased: bool) -> bool:
        """Return whether the mask keeps the others from being chosen, as minus infinity does."""
        positive = score in ("softmax", "sigmoid") and not biased
        return self.fill == -inf or (self.fill == 0 and positive)


def ungrouped(value: Value) -> tuple[Value, Grouping] | None:
    """Return the scores that `value` masks by groups, or itself; None for an unknown mask."""
    masked = producer(value, torch_dialect.AtenMaskedFillScalarOp)
    if masked is None:
        return value, Grouping()
    scores, mask, fill = masked.operands
    scores, bound = same(scores), number(fill)
    outside = producer(same(mask), torch_dialect.AtenBitwiseNotOp | torch_dialect.AtenLogicalNotOp)
    if outside is None or bound is None:
        return None
    scatter = producer(_rearranged(outside.operands[0]), torch_dialect.AtenScatterValueOp)
    if scatter is None or not _marks(scatter):
        return None
    topk = producer(same(scatter.operands[2]), torch_dialect.AtenTopkOp)
    if topk is None or same(scatter.operands[2]) != topk.results[1]:
        return None
    totals, chosen = same(topk.operands[0]), integer(topk.operands[1])
    kind = _group_score(totals, scores)
    last = integer(topk.operands[2]) in (-1, 1) and number(topk.operands[3]) is True
    if kind is None or chosen is None or not last:
        return None
    return scores, Grouping(shape(totals)[-1], chosen, kind, float(bound))


def _rearranged(value: Value) -> Value:
    """Return `value` before each group's mark is repeated for its experts."""
    while isinstance(value.owner, _REARRANGES):
        value = value.owner.operands[0]
    return value


def _marks(scatter: Any) -> bool:
    """Return whether ones are put into zeros, along the groups."""
    zeros = producer(same(scatter.operands[0]), torch_dialect.AtenZerosLikeOp)
    last = integer(scatter.operands[1]) in (-1, 1)
    return zeros is not None and last and is_number(scatter.operands[3], 1)


def _group_score(totals: Value, scores: Value) -> str | None:
    """Return how `totals` `[T, groups]` come from `scores`: by the best, or by the two best."""
    owner = totals.owner
    if isinstance(owner, torch_dialect.AtenMaxDimOp):
        is_best = totals == owner.results[0] and integer(owner.operands[1]) in (-1, 2)
        return "max" if is_best and _grouped(owner.operands[0], scores) else None
    if not isinstance(owner, torch_dialect.AtenSumDimIntListOp):
        return None
    best = producer(same(owner.operands[0]), torch_dialect.AtenTopkOp)
    if best is None or integers(owner.operands[1]) not in ([-1], [2]):
        return None
    two = integer(best.operands[1]) == 2 and same(owner.operands[0]) == best.results[0]
    last = integer(best.operands[2]) in (-1, 2) and number(best.operands[3]) is True
    return "top2" if two and last and _grouped(best.operands[0], scores) else None


def _grouped(value: Value, scores: Value) -> bool:
    """Return whether `value` is `scores` as `[T, groups, experts of a group]`."""
    sizes = shape(value)
    view = value.owner
    known = isinstance(
        view,
        torch_dialect.AtenViewOp | torch_dialect.Aten_UnsafeViewOp | torch_dialect.AtenReshapeOp,
    )
    split = len(sizes) == 3 and sizes[0] == DYNAMIC
    return known and split and same(view.operands[0]) == scores
