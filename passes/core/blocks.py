"""The blocks of a module that passes rewrite: the bodies of its functions."""

from ingot.ir import Block, Module, OpView


def blocks(module: Module) -> list[Block]:
    """Return the body of every function; a function of the IR has exactly one block."""
    return [function.regions[0].blocks[0] for function in module.functions]


def step_block(module: Module) -> Block:
    """Return the body of the step function."""
    return module.step.regions[0].blocks[0]


def ops_of(block: Block) -> list[OpView]:
    """Return the ops of `block` in order, as a list that later changes do not touch."""
    return list(block.operations)
