"""Raises the opaque layer of experts that the front end traces, with its router where known."""

from ingot.ir import (
    DYNAMIC,
    Convert,
    ExpertRows,
    Experts,
    ExpertUnit,
    FromTorch,
    Quant,
    Route,
    Value,
    torch_dialect,
)
from ingot.passes.bridging import as_torch, is_none, number, shape, text, viewed, weight
from ingot.passes.core import pattern, replace
from ingot.passes.reading import features
from ingot.passes.routers import bare, match_router


@pattern(benefit=2)
def experts(op: torch_dialect.OperatorOp) -> None:
    """`ingot.experts(hidden, indices, routing, up, down, biases, layout, unit)`."""
    if op.attributes["name"].value != "torch.ingot.experts":
        return
    hidden, indices, routing, up, down, up_bias, down_bias, *rest = op.operands
    transposed, interleaved, weigh_input = (bool(number(one)) for one in rest[:3])
    matrices = [
        _rows(up, transposed, interleaved),
        _rows(down, transposed, False),
        _rows(up_bias, False, interleaved),
        _rows(down_bias, False, False),
    ]
    given = [not is_none(one) for one in (up, down, up_bias, down_bias)]
    rows = features(hidden)
    if rows is None or any(a and b is None for a, b in zip(given, matrices, strict=True)):
        return
    routed = _route(indices, routing)
    if routed is None:
        return
    layer = Experts(
        rows,
        *routed,
        *matrices,
        experts=shape(up)[0],
        unit=_unit(rest[3:]),
        weigh_input=weigh_input,
    )
    replace(op, as_torch(layer.out, op.results[0].type))


def _unit(operands: list[Value]) -> ExpertUnit:
    kind, gated, alpha, limit, up_shift = operands
    numbers = (float(number(one) or 0) for one in (alpha, limit, up_shift))
    return ExpertUnit(text(kind) or "", bool(number(gated)), *numbers)


def _rows(value: Value, transposed: bool, interleaved: bool) -> Value | None:
    """Return the experts' rows one below the other, None for what is not a weight."""
    stored = None if is_none(value) else weight(value)
    if stored is None:
        return None
    if transposed and isinstance(stored.type, Quant):
        stored = Convert(stored).out
    return ExpertRows(stored, transposed=transposed, interleaved=interleaved).out


def _route(indices: Value, routing: Value) -> tuple[Value, Value] | None:
    """Return indices and weights: of an `lm.route`, or as torch makes them."""
    router = match_router(indices, routing)
    if router is not None:
        logits, bias = features(router.logits), _bias(router.bias)
        if logits is not None and (bias is None) == (router.bias is None):
            route = Route(logits, bias, **router.attributes)
            return route.indices, route.weights
    weights = features(routing)
    if weights is None:
        return None
    chosen = viewed(bare(indices), (1, DYNAMIC, shape(indices)[-1]))
    return FromTorch(chosen).out, weights


def _bias(value: Value | None) -> Value | None:
    """Return the bias of a router as a weight `[E]`; it may be stored as `[1, E]`."""
    if value is None:
        return None
    squeezed = isinstance(value.owner, torch_dialect.AtenSqueezeOp)
    stored = weight(value.owner.operands[0] if squeezed else value)
    if stored is None:
        return None
    return ExpertRows(stored).out if len(stored.type.shape) == 2 else stored
