"""Makes linears that are divided as one of linears that are not: apart, and without a bias."""

from ingot.ir import Add, ArrangeRows, Block, Linear, Piece, Slice, Value, after, before, shape_of
from ingot.passes.core import erase_dead, ops_of, replace
from ingot.passes.sharding.readers import readers_of

from .choices import INPUTS, Choices


def split_linears(block: Block) -> None:
    """Make a linear of which slices alone are read one linear a slice.

    Queries, keys and values lie side by side in such a one, and devices must divide each.
    """
    for op in ops_of(block):
        if isinstance(op, Linear) and _is_read_in_slices(op):
            for reader in readers_of(op.out):
                _split(op, reader)
    erase_dead(block)


def _is_read_in_slices(op: Linear) -> bool:
    readers = readers_of(op.out)
    if not readers or not all(isinstance(one, Slice) for one in readers):
        return False
    taken = sum(int(one.size) for one in readers)
    return len(list(op.w.uses)) == 1 and taken <= shape_of(op.w)[0]


def _split(op: Linear, reader: Slice) -> None:
    rows = (Piece(0, reader.offset, 0, 1, reader.size),)
    with before(op):
        w = ArrangeRows(op.w, heads=1, pieces=rows).out
        bias: Value | None = None
        if op.bias is not None:
            bias = ArrangeRows(op.bias, heads=1, pieces=rows).out
        replace(reader, Linear(op.x, w, bias, loc=reader.location).out)


def part_biases(block: Block, choices: Choices) -> None:
    """Add the bias of a linear whose inputs are divided once, after the sum of its terms."""
    for op in ops_of(block):
        if not isinstance(op, Linear) or op.bias is None:
            continue
        chosen = choices.of(op, "w")
        if chosen is None or not chosen.dims[INPUTS]:
            continue
        with after(op):
            terms = Linear(op.x, op.w)
            shifted = Add(terms.out, op.bias).out
        replace(op, shifted)
    erase_dead(block)
