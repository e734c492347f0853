"""`lm.local_ids`: the numbers of tokens in a device's part of the vocabulary."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from ingot.ir.checks import require_indices, require_positive
from ingot.ir.collectives import place_along, require_devices
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import AttributeValue, OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.types import index_type


class LocalIds(Op, name="local_ids"):
    """ids - c · rows, where c is the device's place along `axis`; -1 outside 0 … rows - 1.

    A vocabulary parallel embedding: each device holds `rows` rows of the table, and gives zeros
    for the tokens of others (`lm.embedding` of -1), so that the sum over devices is the whole.
    """

    collective = True

    ids: Value
    axis: str
    size: int
    rows: int
    out: OpResult

    def __init__(
        self, ids: Value, *, axis: str, size: int, rows: int, **place: Unpack[Place]
    ) -> None:
        attributes: dict[str, AttributeValue] = {"axis": axis, "size": size, "rows": rows}
        self.build([ids], [index_type(ids.context)], attributes, **place)

    def check(self) -> None:
        require_devices(self.axis, self.size)
        require_positive("rows", self.rows)
        require_indices("ids", self.ids)
        require_indices("the result", self.out)

    def varies(self, operands: frozenset[str]) -> frozenset[str]:
        return operands | {self.axis} if self.size > 1 else operands

    def across(
        self, inputs: Sequence[Sequence[Datum]], coordinates: Sequence[Mapping[str, int]]
    ) -> list[Datum | tuple[Datum, ...]]:
        found: list[Datum | tuple[Datum, ...]] = []
        for (ids,), places in zip(inputs, coordinates, strict=True):
            local = tensor_of(ids) - place_along(self.axis, self.size, places) * self.rows
            found.append(local.masked_fill((local < 0) | (local >= self.rows), -1))
        return found

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(elements_of(self.ids, tokens), traffic(self, tokens))
