"""`lm.route`: which experts a token goes to, and with what weights."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import (
    require,
    require_activation,
    require_choice,
    require_positive,
    require_vector,
)
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import DYNAMIC, AttributeValue, IntegerType, OpResult, Type, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import with_weights
from ingot.ir.types import activation_type, columns_of, tensor_type

SCORES = ("softmax", "sigmoid", "softmax_chosen", "sigmoid_chosen", "mixer")
GROUP_SCORES = ("max", "top2")


class Route(Op, name="route"):
    """The k best of E experts for each token, best first: indices `[T, k]` and weights `[T, k]`.

    `score` of the logits `[T, E]`: softmax, sigmoid, or of the chosen alone.  Experts are
    chosen by score + `bias`, the lower index first among equals.  With `groups` above 1 only those
    of the best `groups_per_token` groups of neighbouring experts can be: a group counts as much as
    its best (`max`) or its two best experts (`top2`) (DeepSeek-V2, 2024, section 2.2; V3, 2.1.2).
    `mixer` (SparseMixer-v2, Liu et al., 2024) weighs each choice by softmax among what is not
    yet chosen and at most `threshold` · max(|logit|, best) below the best.
    A weight is the score without bias; divided by their sum + `eps` if `normalize`; times `scale`.
    """

    row_wise = True

    logits: Value
    experts_per_token: int
    score: str
    normalize: bool
    eps: float
    scale: float
    groups: int
    groups_per_token: int
    group_score: str
    threshold: float
    indices: OpResult
    weights: OpResult
    bias: Value | None = None

    def __init__(
        self,
        logits: Value,
        bias: Value | None = None,
        *,
        experts_per_token: int,
        score: str = "softmax",
        normalize: bool = False,
        eps: float = 0.0,
        scale: float = 1.0,
        groups: int = 1,
        groups_per_token: int = 1,
        group_score: str = "max",
        threshold: float = 0.0,
        **place: Unpack[Place],
    ) -> None:
        attributes: dict[str, AttributeValue] = {
            "experts_per_token": experts_per_token,
            "score": score,
            "normalize": normalize,
            "eps": eps,
            "scale": scale,
            "groups": groups,
            "groups_per_token": groups_per_token,
            "group_score": group_score,
            "threshold": threshold,
        }
        self.build([logits, bias], _results(logits, experts_per_token), attributes, **place)

    def check(self) -> None:
        require_activation("logits", self.logits)
        experts = columns_of(self.logits)
        if self.bias is not None:
            require_vector("bias", self.bias, experts)
        require_choice("score", self.score, SCORES)
        require_choice("group_score", self.group_score, GROUP_SCORES)
        require_positive("groups", self.groups)
        require(experts % self.groups == 0, f"cannot part {experts} into {self.groups} groups")
        fits = 1 <= self.groups_per_token <= self.groups
        require(fits, f"takes {self.groups_per_token} of {self.groups} groups")
        size = experts // self.groups
        least = 2 if self.groups > 1 and self.group_score == "top2" else 1
        require(size >= least, f"needs groups of {least} experts or more, found {size}")
        most = self.groups_per_token * size
        fits = 1 <= self.experts_per_token <= most
        require(fits, f"takes {self.experts_per_token} of {most} experts")
        expected = _results(self.logits, self.experts_per_token)
        found = [self.indices.type, self.weights.type]
        require(found == expected, f"makes {expected[0]} and {expected[1]}, found {found}")

    def reference(self, *inputs: Datum) -> tuple[Tensor, Tensor]:
        logits, *bias = with_weights(inputs)
        scores = self._scores(logits)
        chosen = _best(self._eligible(scores + bias[0] if bias else scores), self.experts_per_token)
        weights = scores.gather(-1, chosen)
        if self.score == "mixer":
            weights = self._mixed(logits, chosen)
        if self.score == "softmax_chosen":
            weights = weights.softmax(-1)
        if self.score == "sigmoid_chosen":
            weights = weights.sigmoid()
        if self.normalize:
            weights = weights / (weights.sum(-1, keepdim=True) + self.eps)
        return chosen.int(), weights * self.scale

    def _scores(self, logits: Tensor) -> Tensor:
        if self.score == "softmax":
            return logits.softmax(-1)
        return logits.sigmoid() if self.score == "sigmoid" else logits

    def _mixed(self, logits: Tensor, chosen: Tensor) -> Tensor:
        """Return the weight of each choice among those that are near it and not chosen before."""
        remaining, weights = logits, []
        for place in torch.unbind(chosen.unsqueeze(-1), dim=-2):
            best = logits.gather(-1, place)
            near = (best - logits) / torch.maximum(logits.abs(), best) <= self.threshold
            shares = torch.where(near, remaining, float("-inf")).softmax(-1)
            weights.append(shares.gather(-1, place))
            remaining = remaining.scatter(-1, place, float("-inf"))
        return torch.cat(weights, dim=-1)

    def _eligible(self, scores: Tensor) -> Tensor:
        """Return scores with minus infinity for experts outside of the best groups."""
        if self.groups_per_token == self.groups:
            return scores
        grouped = scores.reshape(*scores.shape[:-1], self.groups, -1)
        count = 1 if self.group_score == "max" else 2
        totals = grouped.topk(count, dim=-1).values.sum(-1)
        best = _best(totals, self.groups_per_token)
        allowed = torch.zeros_like(totals, dtype=torch.bool).scatter(-1, best, True)
        masked = torch.where(allowed.unsqueeze(-1), grouped, float("-inf"))
        return masked.flatten(-2)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Count 4 operations for an expert's score, and a comparison for each of the k choices."""
        work = (4 + self.experts_per_token) * elements_of(self.logits, tokens)
        return Cost(work, traffic(self, tokens))


def _best(scores: Tensor, count: int) -> Tensor:
    """Return the places of the `count` largest, the lower place first among equals."""
    return scores.sort(dim=-1, descending=True, stable=True).indices[..., :count]


def _results(logits: Value, count: int) -> Sequence[Type]:
    context = logits.context
    integers = tensor_type([DYNAMIC, count], IntegerType.get_signless(32, context))
    return [integers, activation_type(count, context)]
