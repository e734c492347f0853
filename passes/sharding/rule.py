"""What a rule is: how the operands and results of one kind of operation may be divided."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from ingot.ir import (
    AttributeValue,
    Mesh,
    Op,
    OpView,
    Part,
    Quant,
    RankedTensorType,
    Sharding,
    Value,
    before,
    is_weight_expression,
    shape_of,
)

from .local import local_type, operands_of, rebuilt

Given = Mapping[str, Sharding | None]
"""The shardings that the operands have, by field; None for what may be had in any way at no cost:
weights that nobody decided about, and what is no tensor."""


@dataclass(frozen=True)
class Placement:
    """How an operation runs on every device: what it takes, and what it then makes.

    `operands` by field; those left out are wanted whole.
    """

    operands: Mapping[str, Sharding]
    results: tuple[Sharding, ...]


@dataclass(frozen=True)
class Context:
    """What a rule knows besides the operation: the mesh, and whether rows may be divided here.

    `rows` are the parts that rows are divided in where nothing needs all of them (sequence
    parallel), empty where rows stay whole.
    """

    mesh: Mesh
    rows: tuple[Part, ...] = ()

    def resolved(self, sharding: Sharding) -> Sharding:
        """Return that of the finished sum, whose rows are divided where that saves work."""
        if not sharding.partial:
            return sharding
        rows, *others = sharding.dims
        finished = rows or tuple(part for part in self.rows if part.axis in sharding.partial)
        return Sharding((finished, *others))


class Rule(ABC):
    """How one kind of operation is divided; a file of `rules/` holds one, or some that are alike.

    `place` says what an operation takes and makes, `attributes` what changes in the operation that
    a device runs; `local` builds that operation, or several.
    """

    operations: ClassVar[tuple[type[Op], ...]]

    @abstractmethod
    def place(self, op: Any, given: Given, context: Context) -> Placement:
        """Return how `op` runs where its operands have the shardings `given`."""

    def attributes(
        self, op: Any, placement: Placement, context: Context
    ) -> Mapping[str, AttributeValue]:
        """Return the attributes that differ on a device."""
        return {}

    def local(
        self, op: Any, operands: Mapping[str, Value], placement: Placement, context: Context
    ) -> Sequence[Value]:
        """Build what a device runs, of operands placed as wanted; return the results."""
        kinds = [
            local_type(result, sharding)
            for result, sharding in zip(op.results, placement.results, strict=True)
        ]
        changed = self.attributes(op, placement, context)
        return list(rebuilt(op, operands, kinds, changed).results)


class WholeRule(Rule):
    """For operations without a rule: every device has all operands and computes all results."""

    operations: ClassVar[tuple[type[Op], ...]] = ()

    def place(self, op: OpView, given: Given, context: Context) -> Placement:
        return Placement({}, tuple(map(whole, op.results)))

    def local(
        self,
        op: OpView,
        operands: Mapping[str, Value],
        placement: Placement,
        context: Context,
    ) -> Sequence[Value]:
        """Copy the operation, which need not be of `lm`."""
        with before(op):
            made = op.operation.clone()
        for index, value in enumerate(operands.values()):
            made.operands[index] = value
        return list(made.results)


def whole(value: Value) -> Sharding:
    """Return the sharding of a value that every device has all of."""
    return Sharding.replicated(len(shape_of(value)) if is_tensor(value) else 0)


def is_tensor(value: Value) -> bool:
    """Return whether the value is a plain or encoded tensor of known rank."""
    return isinstance(value.type, Quant | RankedTensorType)


def given_of(op: OpView, known: Mapping[Value, Sharding]) -> dict[str, Sharding | None]:
    """Return the shardings of the operands of `op`, by field."""
    found: dict[str, Sharding | None] = {}
    for name, value in operands_of(op).items():
        free = not is_tensor(value) or (is_weight_expression(value) and value not in known)
        found[name] = None if free else known.get(value, whole(value))
    return found


def rule_of(op: OpView) -> Rule:
    """Return the rule for an operation."""
    return _rules().get(str(op.operation.name), _WHOLE)


_WHOLE = WholeRule()


@cache
def _rules() -> dict[str, Rule]:
    """Return the rules of the folder `rules/` by the name of the operation."""
    package = importlib.import_module(f"{__package__}.rules")
    found: dict[str, Rule] = {}
    for entry in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{entry.name}")
        for kind in vars(module).values():
            if not isinstance(kind, type) or not issubclass(kind, Rule):
                continue
            if kind.__module__ != module.__name__:
                continue
            for operation in kind.operations:
                name = operation.OPERATION_NAME
                assert name not in found, f"two rules for {name}"
                found[name] = kind()
    return found
