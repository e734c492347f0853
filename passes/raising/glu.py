"""Raises the gated unit: an activated gate times a value."""

from ingot.ir import Activation, Glu, Mul
from ingot.passes.core import pattern, producer, replace


@pattern
def glu(op: Mul) -> None:
    """`activation(gate) * up`, where nothing else uses the activated gate."""
    for gate, up in ((op.x, op.y), (op.y, op.x)):
        activated = producer(gate, Activation)
        if activated is not None and len(list(gate.uses)) == 1 and gate.type == up.type:
            replace(op, Glu(activated.x, up, kind=activated.kind).out)
            return
