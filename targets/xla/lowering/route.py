"""Which experts a token goes to: the k best of their scores, one after the other."""

from ingot.ir import Route
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

from .context import Context

LOWEST = float("-inf")


def lower_route(context: Context, op: Route) -> None:
    logits = context.values[op.logits]
    scores = logits
    if op.score in ("softmax", "sigmoid"):
        scores = _softmax(logits) if op.score == "softmax" else hlo.sigmoid(logits)
    biased = scores if op.bias is None else scores + context.vector(op.bias)
    masks = _best(_eligible(op, biased), op.experts_per_token)
    if op.score == "mixer":
        chosen = _mixed(logits, masks, op.threshold)
    else:
        chosen = [_sum_where(mask, scores) for mask in masks]
    weights = hlo.concatenate(chosen, 1)
    if op.score.endswith("_chosen"):
        weights = _softmax(weights) if op.score == "softmax_chosen" else hlo.sigmoid(weights)
    if op.normalize:
        weights = weights / (weights.sum() + op.eps)
    numbers = hlo.arange(logits.shape[1], logits.shape, 1)
    context.values[op.indices] = hlo.concatenate([_sum_where(m, numbers) for m in masks], 1)
    context.values[op.weights] = weights * op.scale


def _softmax(x: Array) -> Array:
    shares = hlo.exp(x - x.max())
    return shares / shares.sum()


def _sum_where(mask: Array, x: Array) -> Array:
    return hlo.where(mask, x, 0).sum()


def _best(scores: Array, count: int) -> list[Array]:
    """Return where the `count` largest of each row are, a mask of one place for each.

    The lower place comes first among equals, as scores are taken out one by one.
    """
    places = hlo.arange(scores.shape[1], scores.shape, 1)
    left, masks = hlo.full(scores.shape, 1, "i1"), list[Array]()
    for _ in range(count):
        open_scores = hlo.where(left, scores, LOWEST)
        best = open_scores.equals(open_scores.max()) & left
        mask = places.equals(hlo.where(best, places, scores.shape[1]).min())
        left = left & ~mask
        masks.append(mask)
    return masks


def _eligible(op: Route, scores: Array) -> Array:
    """Return scores with minus infinity for experts outside of the best groups."""
    if op.groups_per_token == op.groups:
        return scores
    rows, experts = scores.shape
    grouped = scores.reshape(rows * op.groups, experts // op.groups)
    best = _best(grouped, 1 if op.group_score == "max" else 2)
    totals = hlo.concatenate([_sum_where(mask, grouped) for mask in best], 1).sum()
    allowed = hlo.full((rows, op.groups), 0, "i1")
    for mask in _best(totals.reshape(rows, op.groups), op.groups_per_token):
        allowed = allowed | mask
    spread = allowed[:, :, None].broadcast(rows, op.groups, experts // op.groups)
    return hlo.where(spread.reshape(rows, experts), scores, LOWEST)


def _mixed(logits: Array, masks: list[Array], threshold: float) -> list[Array]:
    """Return the weight of each choice among those that are near it and not chosen before."""
    left, weights = hlo.full(logits.shape, 1, "i1"), []
    for mask in masks:
        best = _sum_where(mask, logits)
        near = (best - logits) / hlo.maximum(hlo.absolute(logits), best) <= threshold
        shares = _softmax(hlo.where(near & left, logits, LOWEST))
        weights.append(_sum_where(mask, shares))
        left = left & ~mask
    return weights
