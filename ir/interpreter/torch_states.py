"""The opaque operators of convolutions and scans, as they stand in a traced graph."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ingot.ir.functions import ACTIVATIONS

from .recurrence import ragged_conv, ragged_delta_rule, ragged_selective_scan, ragged_ssm_scan
from .values import Batch


def _causal_conv(inputs: Sequence[Any], batch: Batch) -> Tensor:
    x, weight, bias, layer, index, kind = inputs
    y = ragged_conv(x.squeeze(0), weight, bias, batch, layer=layer, name=f"conv{index}")
    return y if kind == "none" else ACTIVATIONS[kind](y)


def _ssm_scan(inputs: Sequence[Any], batch: Batch) -> Tensor:
    x, dt, a, b, c, d, layer = inputs
    x, dt, b, c = (one.squeeze(0) for one in (x, dt, b, c))
    return ragged_ssm_scan(x, dt, a, b, c, d, batch, layer=layer)


def _selective_scan(inputs: Sequence[Any], batch: Batch) -> Tensor:
    x, dt, a, b, c, d, layer = inputs
    x, dt, b, c = (one.squeeze(0) for one in (x, dt, b, c))
    return ragged_selective_scan(x, dt, a, b, c, d, batch, layer=layer)


def _delta_rule(inputs: Sequence[Any], batch: Batch) -> Tensor:
    *tensors, layer, normalize = inputs
    q, k, v, g, beta = (one.squeeze(0) for one in tensors)
    scale = q.shape[-1] ** -0.5
    return ragged_delta_rule(q, k, v, g, beta, batch, layer=layer, scale=scale, normalize=normalize)


STATE_OPERATORS: Mapping[str, Callable[[Sequence[Any], Batch], Tensor]] = {
    "ingot.causal_conv": _causal_conv,
    "ingot.ssm_scan": _ssm_scan,
    "ingot.selective_scan": _selective_scan,
    "ingot.delta_rule": _delta_rule,
}
"""From the operands of an operator and the batch to its result, without the leading 1."""
