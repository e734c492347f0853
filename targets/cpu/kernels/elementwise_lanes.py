"""Vectors of which only the first lanes exist in memory."""

from ingot.targets.cpu.build import I1, Pointer, Type, Value, constant


def lane_mask(lanes: int, width: int) -> Value:
    """Return the mask that holds in the first `lanes` of `width` lanes."""
    return constant(I1.x(width), [int(lane < lanes) for lane in range(width)])


def load_lanes(address: Pointer, type_: Type, lanes: int) -> Value:
    """Load the first `lanes` elements of a vector, zeros behind them; no more is read."""
    if lanes == type_.lanes:
        return address.load(type_)
    return address.load_masked(type_, lane_mask(lanes, type_.lanes))


def store_lanes(address: Pointer, values: Value, lanes: int) -> None:
    """Store the first `lanes` elements; no more is written."""
    if lanes == values.type.lanes:
        address.store(values)
    else:
        address.store_masked(values, lane_mask(lanes, values.type.lanes))
