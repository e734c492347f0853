"""Recognises routers: how the experts of a token, and their weights, come from its logits."""

from dataclasses import dataclass, replace
from typing import Any

from ingot.ir import DYNAMIC, Value, torch_dialect
from ingot.passes.bridging import integer, integers, is_number, number, same, shape
from ingot.passes.core import producer

from .grouping import Grouping, ungrouped
from .mixing import match_mixer

_RESHAPES = torch_dialect.AtenViewOp | torch_dialect.Aten_UnsafeViewOp | torch_dialect.AtenReshapeOp
_CASTS = torch_dialect.AtenTypeAsOp | torch_dialect.Aten_ToCopyOp
_TINY = 1e-9


@dataclass(frozen=True)
class Router:
    """A recognised router: torch values `logits` and `bias`, and the attributes of `lm.route`."""

    logits: Value
    bias: Value | None
    attributes: dict[str, Any]


@dataclass(frozen=True)
class _Weighing:
    """What turns the chosen scores into weights; `scores` are those, `[T, k]`."""

    scores: Value
    scale: float = 1.0
    normalize: bool = False
    eps: float = 0.0
    function: str = ""


def match_router(indices: Value, weights: Value) -> Router | None:
    """Return the router that makes `indices` and `weights` `[T, k]`, None for an unknown one."""
    mixer = match_mixer(bare(indices), bare(weights))
    if mixer is not None:
        logits, count, threshold = mixer
        attributes = {"experts_per_token": count, "score": "mixer", "threshold": threshold}
        return Router(logits, None, attributes)
    topk = producer(bare(indices), torch_dialect.AtenTopkOp)
    if topk is None or bare(indices) != topk.results[1] or not _along_last(topk.operands):
        return None
    found = ungrouped(bare(topk.operands[0]))
    if found is None:
        return None
    selection, grouping = found
    scores, bias = _without_bias(selection)
    weighing = _weighing(bare(weights))
    if not _chosen(weighing.scores, scores, topk, masked=bare(topk.operands[0]) != selection):
        return None
    return _router(scores, bias, topk, grouping, weighing)


def _router(
    scores: Value, bias: Value | None, topk: Any, grouping: Grouping, weighing: _Weighing
) -> Router | None:
    kind, logits = _score(scores)
    if weighing.function:
        # A function of the chosen logits alone: softmax over them, or sigmoid, which keeps order.
        if kind:
            return None
        plain = weighing.function == "sigmoid" and bias is None
        kind = weighing.function if plain else f"{weighing.function}_chosen"
    count = integer(topk.operands[1])
    if not kind or count is None or not grouping.fits(kind, bias is not None):
        return None
    attributes = {
        "experts_per_token": count,
        "score": kind,
        "normalize": weighing.normalize,
        "eps": weighing.eps,
        "scale": weighing.scale,
        "groups": grouping.groups,
        "groups_per_token": grouping.chosen,
        "group_score": grouping.score,
    }
    return Router(logits, bias, attributes)


def bare(value: Value) -> Value:
    """Return `value` before copies, casts to its own type, and a leading 1 put on or taken off."""
    while True:
        value = same(value)
        owner = value.owner
        if isinstance(owner, _CASTS) and owner.operands[0].type == value.type:
            value = owner.operands[0]
        elif isinstance(owner, _RESHAPES) and _flat(owner.operands[0]) == _flat(value):
            value = owner.operands[0]
        else:
            return value


def _flat(value: Value) -> tuple[int, ...]:
    sizes = shape(value)
    return sizes[1:] if sizes[:2] == (1, DYNAMIC) else sizes


def _along_last(operands: Any) -> bool:
    """Return whether a topk is along the last dimension and takes the largest."""
    x, _, dim, largest, _ = operands
    return integer(dim) in (-1, len(shape(x)) - 1) and number(largest) is True


def _score(scores: Value) -> tuple[str, Value]:
    """Return the function that scores are of logits, "" if they are the logits, and those."""
    softmax = producer(scores, torch_dialect.AtenSoftmaxIntOp)
    if softmax is not None and integer(softmax.operands[1]) in (-1, len(shape(scores)) - 1):
        return "softmax", bare(softmax.operands[0])
    sigmoid = producer(scores, torch_dialect.AtenSigmoidOp)
    return ("", scores) if sigmoid is None else ("sigmoid", bare(sigmoid.operands[0]))


def _without_bias(selection: Value) -> tuple[Value, Value | None]:
    """Return scores and bias if `selection` is their sum."""
    total = producer(selection, torch_dialect.AtenAddTensorOp)
    if total is None or not is_number(total.operands[2], 1):
        return selection, None
    for scores, bias in (total.operands[:2], reversed(list(total.operands)[:2])):
        if DYNAMIC not in shape(bias):
            return bare(scores), bias
    return selection, None


def _chosen(values: Value, scores: Value, topk: Any, *, masked: bool) -> bool:
    """Return whether `values` are those of `scores` at the places that `topk` found."""
    if values == topk.results[0]:
        return bare(topk.operands[0]) == scores or masked
    gather = producer(values, torch_dialect.AtenGatherOp)
    if gather is None or bare(gather.operands[2]) != topk.results[1]:
        return False
    along = integer(gather.operands[1]) in (-1, len(shape(values)) - 1)
    return along and bare(gather.operands[0]) == scores


def _weighing(value: Value) -> _Weighing:
    """Return what `value` does to scores: scaling, normalising, a function; in this order back."""
    owner = value.owner
    if isinstance(owner, torch_dialect.AtenMulScalarOp):
        factor = number(owner.operands[1])
        inner = _weighing(bare(owner.operands[0]))
        return _Weighing(value) if factor is None else _scaled(inner, float(factor))
    if isinstance(owner, torch_dialect.AtenDivTensorOp):
        scores = bare(owner.operands[0])
        eps = _total(bare(owner.operands[1]), scores)
        inner = _weighing(scores)
        if eps is None or inner.normalize or inner.scale != 1.0:
            return _Weighing(value)
        return replace(inner, normalize=True, eps=eps)
    if isinstance(owner, torch_dialect.AtenSoftmaxIntOp) and integer(owner.operands[1]) in (-1, 1):
        return _Weighing(bare(owner.operands[0]), function="softmax")
    if isinstance(owner, torch_dialect.AtenSigmoidOp):
        return _Weighing(bare(owner.operands[0]), function="sigmoid")
    return _Weighing(value)


def _scaled(weighing: _Weighing, factor: float) -> _Weighing:
    return replace(weighing, scale=weighing.scale * factor)


def _total(value: Value, scores: Value) -> float | None:
    """Return eps if `value` is the sum of `scores` + eps, or at least a tiny eps."""
    eps = 0.0
    owner = value.owner
    if isinstance(owner, torch_dialect.AtenAddScalarOp) and is_number(owner.operands[2], 1):
        eps = float(number(owner.operands[1]) or 0)
        value = bare(owner.operands[0])
    elif isinstance(owner, torch_dialect.AtenClampOp | torch_dialect.AtenClampMinOp):
        # Scores are positive, so that the bound only keeps from dividing by zero.
        eps = float(number(owner.operands[1]) or 0)
        value = bare(owner.operands[0])
        if eps > _TINY:
            return None
    total = producer(value, torch_dialect.AtenSumDimIntListOp)
    if total is None or bare(total.operands[0]) != scores:
        return None
    last = integers(total.operands[1]) in ([-1], [len(shape(scores)) - 1])
    return eps if last and number(total.operands[2]) is True else None
