"""Reads the constants that torch ops take as operands."""

from ingot.ir import Value, torch_dialect

Number = bool | int | float


def number(value: Value) -> Number | None:
    """Return the integer, float or boolean that `value` is, None if it is not a constant."""
    owner = value.owner
    if isinstance(
        owner,
        torch_dialect.ConstantIntOp | torch_dialect.ConstantFloatOp | torch_dialect.ConstantBoolOp,
    ):
        found = owner.attributes["value"].value
        assert isinstance(found, Number)
        return found
    return None


def is_number(value: Value, expected: float) -> bool:
    """Return whether `value` is the constant `expected`, to 1 part in 10^6."""
    found = number(value)
    return found is not None and abs(found - expected) <= 1e-6 * abs(expected)


def integer(value: Value) -> int | None:
    """Return the integer that `value` is, None for anything else."""
    found = number(value)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def integers(value: Value) -> list[int | None]:
    """Return the items of a list of integers, None for those that are not constants."""
    owner = value.owner
    if not isinstance(owner, torch_dialect.PrimListConstructOp):
        return []
    return [integer(item) for item in owner.operands]


def text(value: Value) -> str | None:
    """Return the string that `value` is, None if it is not a constant."""
    owner = value.owner
    return (
        owner.attributes["value"].value if isinstance(owner, torch_dialect.ConstantStrOp) else None
    )


def is_none(value: Value) -> bool:
    """Return whether `value` is the constant None."""
    return isinstance(value.owner, torch_dialect.ConstantNoneOp)


def items(value: Value) -> list[Value]:
    """Return the values of a list made in place, an empty list if it was not."""
    owner = value.owner
    return list(owner.operands) if isinstance(owner, torch_dialect.PrimListConstructOp) else []
