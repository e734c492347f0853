"""The heads whose values may be rotated: between a linear that makes them and one that reads."""

from dataclasses import dataclass

from ingot.ir import Attention, Block, Linear, SelectRows, Value, is_rounded
from ingot.passes.core import ops_of, users


@dataclass(frozen=True)
class TurnedHeads:
    """A linear that makes the values of an attention and the linears that read its result.

    A head has `size` features, in values and in the result alike.
    """

    maker: Linear
    readers: tuple[Linear, ...]
    size: int


def turned_heads(block: Block) -> list[TurnedHeads]:
    """Return those of all attentions between plain linears; others are left out.

    An attention adds up the values of each head with weights that do not depend on them, so its
    result is rotated as they are.
    """
    found = []
    for op in ops_of(block):
        if not isinstance(op, Attention) or is_rounded(op.out):
            continue
        maker, readers = op.v.owner, _readers(op.out)
        alone = len(list(op.v.uses)) == 1
        if isinstance(maker, Linear) and alone and readers:
            found.append(TurnedHeads(maker, readers, op.value_dim or op.head_dim))
    return found


def _readers(value: Value) -> tuple[Linear, ...]:
    """Return the linears that read a value, none where anything else does."""
    found: list[Linear] = []
    for op in users(value):
        if isinstance(op, Linear) and op.x == value:
            found.append(op)
        elif isinstance(op, SelectRows):
            selected = _readers(op.out)
            if not selected:
                return ()
            found.extend(selected)
        else:
            return ()
    return tuple(found)
