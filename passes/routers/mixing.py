"""Recognises the router of SparseMixer-v2, which chooses and weighs one expert after another.

Liu et al. (2024), GRIN: Gradient-Informed MoE, as Phi-3.5-MoE computes it.
"""

from math import inf
from typing import Any

from ingot.ir import Value, torch_dialect
from ingot.passes.bridging import integer, is_none, is_number, items, number, same
from ingot.passes.core import producer


def match_mixer(indices: Value, weights: Value) -> tuple[Value, int, float] | None:
    """Return logits `[T, E]`, the number of choices and the threshold; None for anything else."""
    places, factors = _parts(indices), _parts(weights)
    if not places or len(places) != len(factors):
        return None
    first = _largest(places[0])
    if first is None:
        return None
    logits = remaining = same(first.operands[0])
    thresholds = set()
    for place, factor in zip(places, factors, strict=True):
        best = _largest(place)
        if best is None or same(best.operands[0]) != remaining:
            return None
        thresholds.add(_threshold(factor, logits, remaining, best))
        scatter = _scatter_of(logits if remaining == logits else remaining, place)
        if scatter is not None:
            remaining = scatter
    (threshold, *others) = thresholds
    return None if threshold is None or others else (logits, len(places), threshold)


def _parts(value: Value) -> list[Value]:
    """Return what is joined along the last of two dimensions."""
    joined = producer(same(value), torch_dialect.AtenCatOp)
    if joined is None or integer(joined.operands[1]) not in (-1, 1):
        return []
    return [same(item) for item in items(joined.operands[0])]


def _largest(place: Value) -> Any:
    """Return the op whose second result, where the largest of each row is, `place` is."""
    op = producer(same(place), torch_dialect.AtenMaxDimOp)
    if op is None or op.results[1] != same(place):
        return None
    rows = integer(op.operands[1]) in (-1, 1) and number(op.operands[2]) is True
    return op if rows else None


def _scatter_of(remaining: Value, place: Value) -> Value | None:
    """Return `remaining` without what was chosen at `place`, if something reads that."""
    for use in remaining.uses:
        op = use.owner
        if not isinstance(op, torch_dialect.AtenScatterValueOp) or use.operand_number != 0:
            continue
        if same(op.operands[2]) == place and number(op.operands[3]) == -inf:
            return Value(op.operation.results[0])
    return None


def _threshold(factor: Value, logits: Value, remaining: Value, best: Any) -> float | None:
    """Return the threshold if `factor` is the weight of the `best` of `remaining`."""
    gather = producer(factor, torch_dialect.AtenGatherOp)
    if gather is None or same(gather.operands[2]) != best.results[1]:
        return None
    softmax = producer(same(gather.operands[0]), torch_dialect.AtenSoftmaxIntOp)
    masked = softmax and producer(same(softmax.operands[0]), torch_dialect.AtenMaskedFillScalarOp)
    if not masked or same(masked.operands[0]) != remaining or number(masked.operands[2]) != -inf:
        return None
    far = producer(same(masked.operands[1]), torch_dialect.AtenGtScalarOp)
    if far is None:
        return None
    quotient = producer(same(far.operands[0]), torch_dialect.AtenDivTensorOp)
    if quotient is None or not _is_distance(quotient, logits, best.results[0]):
        return None
    found = number(far.operands[1])
    return None if found is None else float(found)


def _is_distance(quotient: Any, logits: Value, best: Value) -> bool:
    """Return whether it is `(best - logits) / max(|logits|, best)`."""
    below = producer(same(quotient.operands[0]), torch_dialect.AtenSubTensorOp)
    bound = producer(same(quotient.operands[1]), torch_dialect.AtenClampTensorOp)
    if below is None or bound is None or not is_number(below.operands[2], 1):
        return False
    size = producer(same(bound.operands[0]), torch_dialect.AtenAbsOp)
    bounded = same(bound.operands[1]) == best and is_none(bound.operands[2])
    apart = same(below.operands[0]) == best and same(below.operands[1]) == logits
    return bounded and apart and size is not None and same(size.operands[0]) == logits
