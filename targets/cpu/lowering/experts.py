"""Routers and experts: six launches for a layer, over the (token, choice) pairs of the step.

Pairs are put in the order of their experts; rows of x are copied to them; the first linears of all
experts run as one launch, then what lies between, the second linears, and the weighted sums.
"""

from dataclasses import dataclass

from ingot.errors import UnsupportedError
from ingot.ir import Experts, Route, Value, columns_of, place_of, shape_of
from ingot.targets.cpu.kernels.experts import (
    expert_linear_kernel,
    group_kernel,
    mix_kernel,
    route_kernel,
    spread_kernel,
    unit_kernel,
)
from ingot.targets.cpu.kernels.experts.route import Routing
from ingot.targets.cpu.kernels.linear import UNIT_OUTPUTS, LinearShape
from ingot.targets.cpu.kernels.rounding import float_row_bytes, row_bytes_of
from ingot.targets.cpu.memory import Access, BufferRequest
from ingot.targets.cpu.plan import BufferSlot, Rows, Units

from .arguments import Argument, View, integer, number_of
from .context import Context, padded
from .rowwise import launch_rows, name_of, new_result, result, sink_for, sink_of, source
from .weights import add_experts, add_vector, packing_of

LEAST_CAPACITY = 16
"""Capacities are multiples of it: a buffer of one row of n bytes has at least 16 n."""


@dataclass(frozen=True)
class Whole:
    """A buffer that is not one row a token: all of it is read or written at once."""

    buffer: int
    row_bytes: int
    stride_bytes: int = 0

    def read(self) -> Argument:
        """Pass it to a kernel that reads it."""
        return Argument(BufferSlot(self.buffer), reads=self._access())

    def write(self) -> Argument:
        """Pass it to a kernel that writes it."""
        return Argument(BufferSlot(self.buffer), writes=self._access())

    def _access(self) -> tuple[Access, ...]:
        return (Access(self.buffer, 0, self.row_bytes),)


def lower_route(context: Context, op: Route) -> None:
    """Lower `lm.route`; a unit is a token."""
    logits = context.views[op.logits]
    indices = new_result(context, op.indices, logits.rows)
    weights = new_result(context, op.weights, logits.rows)
    routing = Routing(
        logits.columns,
        op.experts_per_token,
        op.score,
        op.normalize,
        op.eps,
        op.scale,
        op.groups,
        op.groups_per_token,
        op.group_score,
        bias=op.bias is not None,
        threshold=op.threshold,
    )
    arguments = {
        **source("logits", logits),
        **result("indices", indices),
        **result("weights", weights),
    }
    if op.bias is not None:
        arguments["bias"] = add_vector(context, op.bias)
    launch_rows(context, op, route_kernel(routing), arguments, logits.rows)


def lower_experts(context: Context, op: Experts) -> None:
    """Lower `lm.experts`."""
    _check(op)
    choices, rows = columns_of(op.indices), context.views[op.x].rows
    places, starts = _group(context, op, choices)
    spread = _spread(context, op, places)
    pairs = sink_of(op.x) == "bf16"
    projected = _linear(context, op, spread, starts, (op.up, op.up_bias), rows, pairs)
    weights = context.views[op.weights]
    kernel = unit_kernel(
        op.unit,
        op.hidden,
        choices,
        weigh=op.weigh_input,
        sink=sink_for(op.hidden_encoding),
    )
    stride = row_bytes_of(sink_for(op.hidden_encoding), op.hidden)
    hidden = _pairs(context, op, "hidden", rows, choices, stride)
    shared = {**source("places", places), **source("weights", weights)}
    arguments = {**_from(projected), **shared, **_to(hidden)}
    units = Units("per_row", choices)
    context.launch(_name(context, op, "unit"), [(None, kernel)], arguments, rows=rows, units=units)
    pairs = sink_for(op.hidden_encoding) == "bf16"
    down = _linear(context, op, hidden, starts, (op.down, op.down_bias), rows, pairs)
    y = new_result(context, op.out, rows)
    mix = mix_kernel(y.columns, choices, weigh=not op.weigh_input)
    launch_rows(context, op, mix, {**_from(down), **shared, **result("y", y)}, rows)


def _check(op: Experts) -> None:
    for w in (op.up, op.down):
        outputs = shape_of(w)[0] // op.experts
        if outputs % UNIT_OUTPUTS:
            raise UnsupportedError(
                f"experts with {outputs} outputs cannot be compiled for the CPU",
                where=place_of(op.location) or "step",
                hint=f"Give a model whose experts' sizes are multiples of {UNIT_OUTPUTS}.",
            )
    for w, sink in ((op.up, sink_of(op.x)), (op.down, sink_for(op.hidden_encoding))):
        shape = LinearShape(packing_of(w).name, columns_of(w), bias=False, pairs=sink == "bf16")
        assert shape.activations == sink, f"activations are {sink}, the weight is {w.type}"


def _group(context: Context, op: Experts, choices: int) -> tuple[View, Whole]:
    """Sort the pairs by expert; return their places and where each expert's rows begin."""
    indices = context.views[op.indices]
    places = context.new_view(_name(context, op, "places"), indices.rows, choices)
    words = padded(-(-4 * (op.experts + 1) // LEAST_CAPACITY), 64)
    starts = _whole(context, _name(context, op, "starts"), indices.rows, words)
    arguments = {
        **source("indices", indices),
        **result("places", places),
        "starts": starts.write(),
        "rows": number_of(indices.rows),
    }
    kernel = group_kernel(op.experts, choices)
    name = _name(context, op, "group")
    context.launch(name, [(None, kernel)], arguments, rows=indices.rows, units=Units("count", 1))
    return places, starts


def _spread(context: Context, op: Experts, places: View) -> Whole:
    """Copy the rows of x to their pairs."""
    x = context.views[op.x]
    stride = row_bytes_of(sink_of(op.x), x.columns)
    spread = _pairs(context, op, "spread", x.rows, places.columns, stride)
    kernel = spread_kernel(stride, places.columns)
    arguments = {**source("x", x), **source("places", places), **_to(spread)}
    units = Units("per_row", places.columns)
    name = _name(context, op, "spread")
    context.launch(name, [(None, kernel)], arguments, rows=x.rows, units=units)
    return spread


def _linear(
    context: Context,
    op: Experts,
    x: Whole,
    starts: Whole,
    parameters: tuple[Value, Value | None],
    rows: Rows,
    pairs: bool,
) -> Whole:
    """Run one linear of all experts that have rows; a unit is 16 outputs."""
    w, bias = parameters
    choices, (total, columns) = columns_of(op.indices), shape_of(w)
    outputs = total // op.experts
    y = _pairs(context, op, "linear", rows, choices, float_row_bytes(outputs))
    arguments = {
        "x": x.read(),
        "weights": add_experts(context, w, op.experts, choices),
        "y": y.write(),
        "y_stride": integer(y.stride_bytes),
        "starts": starts.read(),
    }
    if bias is not None:
        arguments["bias"] = add_vector(context, bias)
    packing = packing_of(w).name
    kernel = expert_linear_kernel(
        packing, columns, op.experts, outputs, bias=bias is not None, pairs=pairs
    )
    units = Units("count", outputs // UNIT_OUTPUTS)
    name = _name(context, op, "linear")
    context.launch(name, [(None, kernel)], arguments, rows=rows, units=units)
    return y


def _pairs(
    context: Context, op: Experts, name: str, rows: Rows, choices: int, stride: int
) -> Whole:
    """Make a buffer with a row for each pair, and at least 16 more that kernels may write."""
    return _whole(context, _name(context, op, name), rows, (choices + 1) * stride, stride)


def _whole(context: Context, name: str, rows: Rows, row_bytes: int, stride: int = 0) -> Whole:
    context.requests.append(BufferRequest(name, rows, row_bytes))
    return Whole(len(context.requests) - 1, row_bytes, stride)


def _from(pairs: Whole) -> dict[str, Argument]:
    return {"x": pairs.read(), "x_stride": integer(pairs.stride_bytes)}


def _to(pairs: Whole) -> dict[str, Argument]:
    return {"y": pairs.write(), "y_stride": integer(pairs.stride_bytes)}


def _name(context: Context, op: Experts, part: str) -> str:
    return f"{name_of(context, op)}.{part}"
