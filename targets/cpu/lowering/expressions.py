"""Weight expressions: telling them apart, so that equal ones are packed once, and naming them."""

from ingot.ir import Block, Op, Value, Weight


def is_weight_expression(value: Value) -> bool:
    """Return whether a value depends on nothing but the checkpoint."""
    owner = value.owner
    if isinstance(owner, Block):
        return False
    if isinstance(owner, Weight):
        return True
    return (
        isinstance(owner, Op)
        and len(owner.operands) > 0
        and all(is_weight_expression(operand) for operand in owner.operands)
    )


def expression_key(value: Value) -> str:
    """Return a text that two weight expressions share exactly when they compute the same."""
    owner = value.owner
    assert isinstance(owner, Op)
    operands = ",".join(expression_key(operand) for operand in owner.operands)
    attributes = ",".join(f"{name}={owner.attributes[name]}" for name in owner.attributes)
    return f"{owner.OPERATION_NAME}<{attributes}>({operands}):{value.type}"


def symbols_of(value: Value) -> list[str]:
    """Return the names of the checkpoint's tensors in an expression, in order, each once."""
    owner = value.owner
    if isinstance(owner, Weight):
        return [owner.symbol]
    found = [symbol for operand in owner.operands for symbol in symbols_of(operand)]
    return list(dict.fromkeys(found))


def expression_name(value: Value) -> str:
    """Return a readable name: the symbol, or the joined symbols without their common prefix.

    `model.layers.0.self_attn.q_proj.weight+k_proj.weight+v_proj.weight`
    """
    first, *others = symbols_of(value)
    prefix = first
    for other in others:
        while not other.startswith(prefix):
            prefix = prefix[:-1]
    prefix = prefix[: prefix.rfind(".") + 1]
    return "+".join([first, *(other[len(prefix) :] for other in others)])
