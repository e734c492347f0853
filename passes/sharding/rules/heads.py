"""What treats every head alone: rotations, and heads put together from others."""

from typing import ClassVar

from ingot.ir import Arrange, AttributeValue, Op, Part, Rope, Sharding, columns_of, parse_pieces
from ingot.passes.sharding.arrangements import takes_own, takes_the_same
from ingot.passes.sharding.local import operands_of
from ingot.passes.sharding.rule import Context, Given, Placement, Rule


class RopeRule(Rule):
    """Heads divided; positions are those of all rows."""

    operations: ClassVar[tuple[type[Op], ...]] = (Rope,)

    def place(self, op: Rope, given: Given, context: Context) -> Placement:
        x = given["x"]
        assert x is not None
        wanted = Sharding(((), heads_divided(x.dims[1], op.heads)))
        return Placement({"x": wanted}, (wanted,))

    def attributes(
        self, op: Rope, placement: Placement, context: Context
    ) -> dict[str, AttributeValue]:
        return {"heads": local_heads(op.heads, placement.results[0].dims[1])}


class ArrangeRule(Rule):
    """Heads divided where operands lie head by head; what serves all heads stays whole."""

    operations: ClassVar[tuple[type[Op], ...]] = (Arrange,)

    def place(self, op: Arrange, given: Given, context: Context) -> Placement:
        names = list(operands_of(op))
        own = [lies_by_heads(op, index) for index in range(len(names))]
        shared = [serves_all_heads(op, index) for index in range(len(names))]
        divided: tuple[Part, ...] = ()
        if all(a or b for a, b in zip(own, shared, strict=True)):
            for name, by_heads in zip(names, own, strict=True):
                found = given[name]
                assert found is not None
                if by_heads and not divided:
                    divided = heads_divided(found.dims[1], op.heads)
        if len(names) == 1 and not divided:
            return self._by_rows(names[0], given, context)
        wanted = {
            name: Sharding(((), divided if by_heads else ()))
            for name, by_heads in zip(names, own, strict=True)
        }
        return Placement(wanted, (Sharding(((), divided)),))

    def _by_rows(self, name: str, given: Given, context: Context) -> Placement:
        """Return the placement of what needs all columns of its rows."""
        found = given[name]
        assert found is not None
        wanted = Sharding((context.resolved(found).dims[0], ()))
        return Placement({name: wanted}, (wanted,))

    def attributes(
        self, op: Arrange, placement: Placement, context: Context
    ) -> dict[str, AttributeValue]:
        return {"heads": local_heads(op.heads, placement.results[0].dims[1])}


def lies_by_heads(op: Arrange, operand: int) -> bool:
    """Return whether the operand is as many heads as the result, each read by its own alone."""
    width, rest = divmod(columns_of(op.parts[operand]), op.heads)
    pieces = [piece for piece in parse_pieces(op.pieces) if piece.operand == operand]
    if rest or op.heads == 1:
        return False
    return all(takes_own(piece, width) for piece in pieces)


def serves_all_heads(op: Arrange, operand: int) -> bool:
    """Return whether every head reads the same columns of the operand."""
    return all(takes_the_same(p) for p in parse_pieces(op.pieces) if p.operand == operand)


def heads_divided(parts: tuple[Part, ...], heads: int) -> tuple[Part, ...]:
    """Return `parts` where they leave heads whole, else nothing."""
    whole = all(part.blocks == 1 for part in parts) and heads % _product(parts) == 0
    return parts if whole else ()


def local_heads(heads: int, parts: tuple[Part, ...]) -> int:
    """Return how many of the heads a device has."""
    return heads // _product(parts)


def _product(parts: tuple[Part, ...]) -> int:
    product = 1
    for part in parts:
        product *= part.parts
    return product
