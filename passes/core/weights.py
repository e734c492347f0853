"""Moves weight expressions, values that depend on nothing but weights, out of the way."""

from ingot.ir import Block, Op, OpView, is_weight_expression

from .blocks import ops_of


def hoist_weights(block: Block) -> None:
    """Move the ops of weight expressions to the front of `block`, in order.

    So a rewrite may use any weight anywhere.
    """
    front: list[OpView] = []
    others: list[OpView] = []
    for op in ops_of(block):
        made = list(op.operation.results)
        is_weight = isinstance(op, Op) and made and all(map(is_weight_expression, made))
        (front if is_weight else others).append(op)
    for op in front:
        op.operation.move_before(others[0].operation)
