"""What a step of a module costs by the costs of its operations: FLOPs, and bytes moved."""

from ingot.ir import Cost, Module, Op, bytes_of, is_weight_expression


def step_cost(module: Module, tokens: int, context: int = 0) -> Cost:
    """Return the work of a step of one sequence: `tokens` tokens after `context` cached ones.

    Each operation reads its operands and writes its results once; weights count as they are stored.
    What is still in the torch dialect, or states no cost, counts nothing.
    """
    return sum(operation_costs(module, tokens, context).values(), Cost())


def operation_costs(module: Module, tokens: int, context: int = 0) -> dict[str, Cost]:
    """Return the work of a step by the name of the operation; weight expressions left out."""
    costs: dict[str, Cost] = {}
    for function in module.functions:
        for op in function.entry_block.operations:
            if isinstance(op, Op) and not all(map(is_weight_expression, op.results)):
                name = str(op.operation.name)
                costs[name] = costs.get(name, Cost()) + _cost(op, tokens, context)
    return costs


def _cost(op: Op, tokens: int, context: int) -> Cost:
    try:
        return op.cost(tokens, context)
    except NotImplementedError:
        # An op of somebody else's need not state a cost; estimates go on without it.
        return Cost()


def weight_bytes(module: Module) -> float:
    """Return the bytes of the weights that the step reads, as encoded; shared ones once."""
    seen = {
        operand
        for function in module.functions
        for op in function.entry_block.operations
        if not (len(op.results) and all(map(is_weight_expression, op.results)))
        for operand in op.operands
        if is_weight_expression(operand)
    }
    return sum(bytes_of(value, 0) for value in seen)
