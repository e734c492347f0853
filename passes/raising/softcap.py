"""Raises the soft cap of logits, once its parts are raised."""

from ingot.ir import Activation, Scale, Softcap
from ingot.passes.core import pattern, producer, replace


@pattern
def softcap(op: Scale) -> None:
    """`cap * tanh(x / cap)`."""
    pressed = producer(op.x, Activation)
    inner = None if pressed is None or pressed.kind != "tanh" else producer(pressed.x, Scale)
    if inner is not None and op.factor > 0 and abs(inner.factor * op.factor - 1) < 1e-6:
        replace(op, Softcap(inner.x, cap=op.factor).out)
