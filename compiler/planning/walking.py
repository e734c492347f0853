"""Walks through the operations of a step, and says how many rows each one works on."""

from collections.abc import Iterator
from dataclasses import dataclass

from ingot.ir import Module, Op, Value, is_per_token, is_weight_expression

ROWS = 0
"""The dimension of a per-token value that counts its rows."""


@dataclass(frozen=True)
class Step:
    """A step as one device sees it.

    `tokens` in `sequences` sequences, each with `context` tokens cached before; `rows` of them want
    logits.
    """

    tokens: int
    sequences: int
    rows: int
    context: int

    @classmethod
    def decode(cls, sequences: int, context: int) -> "Step":
        """Return the step that adds a token to each of some sequences."""
        return cls(sequences, sequences, sequences, context)

    @classmethod
    def prefill(cls, tokens: int, context: int = 0) -> "Step":
        """Return the step that reads some tokens of one prompt, after others of it."""
        return cls(tokens, 1, 1, context)


@dataclass(frozen=True)
class Visit:
    """An operation of the step: the rows of its operands and results, and its pipeline stage."""

    op: Op
    given: int
    rows: int
    stage: int = 0


def visits(module: Module, step: Step) -> Iterator[Visit]:
    """Return the operations of the step that are no weight expressions, in order.

    What an unraised remainder calls for is left out: it states no cost.
    """
    rows: dict[Value, int] = {}
    stages: dict[Value, int] = {}
    for op in module.step.entry_block.operations:
        results = list(op.results)
        if results and all(map(is_weight_expression, results)):
            continue
        operands = [value for value in op.operands if is_per_token(value)]
        given = max((rows.get(value, step.tokens) for value in operands), default=step.tokens)
        stage = max((stages.get(value, 0) for value in operands), default=0)
        if isinstance(op, Op):
            operand_rows, given = given, _rows(op, given, rows, step)
            stage = _stage(op, stage)
            yield Visit(op, operand_rows, given, stage)
        rows.update(dict.fromkeys(results, given))
        stages.update(dict.fromkeys(results, stage))


def _stage(op: Op, stage: int) -> int:
    return int(op.stage) if name_of(op) == "send_recv" else stage


def _rows(op: Op, given: int, rows: dict[Value, int], step: Step) -> int:
    """Return the rows of the results of `op`, whose operands have `given`."""
    name, size = name_of(op), int(getattr(op, "size", 1))
    if name == "select_rows":
        return step.rows
    if name == "dispatch":
        return given * size
    if name == "combine":
        return rows.get(op.operands[1], step.tokens)
    if getattr(op, "dim", None) == ROWS:
        if name == "all_gather":
            return given * size
        if name == "reduce_scatter":
            return -(-given // size)
        if name == "shard":
            return -(-given // int(op.parts))
    return given


def name_of(op: Op) -> str:
    """Return the name of an operation without its dialect's."""
    return str(op.operation.name).partition(".")[2]
