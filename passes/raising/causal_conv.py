"""Raises the opaque convolution along sequences that the front end traces."""

from ingot.ir import CausalConv, Value, torch_dialect
from ingot.passes.bridging import (
    as_torch,
    batch_of,
    integer,
    is_none,
    is_opaque,
    same,
    text,
    weight,
)
from ingot.passes.core import pattern, producer, replace
from ingot.passes.reading import features


@pattern
def causal_conv(op: torch_dialect.OperatorOp) -> None:
    """`ingot.causal_conv(x, weight, bias, layer, index, kind)`."""
    if not is_opaque(op, "causal_conv"):
        return
    x, kernel, vector, *constants = op.operands
    layer, index, kind = integer(constants[0]), integer(constants[1]), text(constants[2])
    if layer is None or index is None or kind is None:
        return
    batch, w = batch_of(op), _kernel(kernel)
    bias = None if is_none(vector) else weight(vector)
    if batch is None or w is None or (bias is None and not is_none(vector)):
        return
    rows = features(x)
    if rows is not None:
        made = CausalConv(rows, w, batch, bias, layer=layer, index=index, kind=kind)
        replace(op, as_torch(made.out, op.results[0].type))


def _kernel(value: Value) -> Value | None:
    """Return the weight `[C, 1, width]`, from which models drop the middle dimension."""
    squeezed = producer(same(value), torch_dialect.AtenSqueezeDimOp)
    return weight(value if squeezed is None else squeezed.operands[0])
