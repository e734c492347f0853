"""Weight expressions: telling them apart, so that equal ones are packed once, and naming them."""

from ingot.ir import Op, Value, weight_symbols


def expression_key(value: Value) -> str:
    """Return a text that two weight expressions share exactly when they compute the same."""
    owner = value.owner
    assert isinstance(owner, Op)
    operands = ",".join(expression_key(operand) for operand in owner.operands)
    attributes = ",".join(f"{name}={owner.attributes[name]}" for name in owner.attributes)
    return f"{owner.OPERATION_NAME}<{attributes}>({operands}):{value.type}"


def expression_name(value: Value) -> str:
    """Return a readable name: the symbol, or the joined symbols without their common prefix.

    `model.layers.0.self_attn.q_proj.weight+k_proj.weight+v_proj.weight`
    """
    first, *others = dict.fromkeys(weight_symbols(value)) or ("constant",)
    prefix = first
    for other in others:
        while not other.startswith(prefix):
            prefix = prefix[:-1]
    prefix = prefix[: prefix.rfind(".") + 1]
    return "+".join([first, *(other[len(prefix) :] for other in others)])
