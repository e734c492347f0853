"""Who reads a value, in no order: the cost is that of the readers, not of the whole block."""

from ingot.ir import OpView, Value


def readers_of(value: Value) -> list[OpView]:
    """Return the operations that read `value`, each once."""
    return list({use.owner.operation: use.owner for use in value.uses}.values())
