"""The base class of the operations of `lm`.

An operation is a class with annotated fields, in a file of its own under `ir/ops/`:

    class RmsNorm(Op, name="rms_norm"):
        x: Value                      # operand
        w: Value
        eps: float                    # attribute: bool, int, float or str
        out: OpResult                 # result
        bias: Value | None = None     # optional operands come last

A field reads as a Python value (`op.eps` is a float).  The class's own `__init__` builds an
operation and infers its result types; `check` raises `InvalidOp` for what is wrong with one.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Self, TypedDict, Unpack, get_args

from .dialect import LM
from .fields import ATTRIBUTES, InvalidOp, check_encoding, check_fields
from .mlir import (
    AttributeValue,
    InsertionPoint,
    Location,
    OpResult,
    Type,
    Value,
    attribute_of,
    ext,
    python_value,
)

if TYPE_CHECKING:
    from ingot.ir.interpreter.values import Datum


class Place(TypedDict, total=False):
    """Where an operation is built; what is left out is taken from the context managers in force."""

    loc: Location | None
    ip: InsertionPoint | None


@dataclass(frozen=True)
class Cost:
    """Work of one operation on one device.

    Floating-point operations, bytes of memory read and written once each, and the bytes that the
    device sends to others (as many arrive), as rings and all-to-alls move them.
    """

    flops: float = 0.0
    bytes: float = 0.0
    link_bytes: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.flops + other.flops,
            self.bytes + other.bytes,
            self.link_bytes + other.link_bytes,
        )


def _constraint(annotation: Any) -> Any:
    """Return what the binding's field annotation is for one of ours."""
    if annotation in ATTRIBUTES:
        return ATTRIBUTES[annotation]
    if annotation is Value:
        return ext.Operand[Any]
    if annotation is OpResult:
        return ext.Result[Any]
    if Value in get_args(annotation):
        return Optional[ext.Operand[Any]]  # noqa: UP045 - the form that the binding recognises
    raise TypeError(f"{annotation} is not an operand, a result or an attribute")


class Op(LM.Operation):  # type: ignore[misc, name-defined]
    """Base of the operations of `lm`: construction, Python values of attributes, verification."""

    pure = True
    """Whether the operation may be removed when unused and merged with an equal one."""
    can_round = False
    """Whether its last result may be a rounded activation."""
    row_wise = False
    """Whether a row of its results depends on the same rows of its operands alone."""
    collective = False
    """Whether it depends on which devices of a mesh run it: it has `across`, not `reference`.

    Such an operation has an attribute `axis`, the axis of the mesh that the devices lie along.
    """

    def __init_subclass__(cls, *, name: str | None = None, **options: Any) -> None:
        declared = dict(cls.__annotations__)
        construct = cls.__dict__.get("__init__")
        cls.__annotations__ = {field: _constraint(kind) for field, kind in declared.items()}
        traits = [ext.Pure] if name and cls.pure else []
        super().__init_subclass__(name=name, traits=traits, **options)
        cls.__annotations__ = declared
        if construct is not None:
            cls.__init__ = construct  # type: ignore[method-assign]
        for field, kind in declared.items():
            if kind in ATTRIBUTES:
                setattr(cls, field, property(_attribute_reader(field)))

    def build(
        self,
        operands: Sequence[Value | None],
        results: Sequence[Type],
        attributes: Mapping[str, AttributeValue] | None = None,
        **place: Unpack[Place],
    ) -> None:
        """Make the operation; `loc` and `ip` default to those in force (`with before(op):`)."""
        context = results[0].context
        super(ext.Operation, self).__init__(
            self.OPERATION_NAME,
            self._ODS_REGIONS,
            self._ODS_OPERAND_SEGMENTS,
            self._ODS_RESULT_SEGMENTS,
            attributes={k: attribute_of(v, context) for k, v in (attributes or {}).items()},
            results=list(results),
            operands=list(operands),
            successors=None,
            regions=None,
            loc=place.get("loc"),
            ip=place.get("ip"),
        )

    def with_fields(self, **changes: Value | AttributeValue | None) -> Self:
        """Build this operation again with some operands and attributes changed.

        The types of the results stay.  Made where `build` makes one, at this one's location.
        """
        declared = inspect.get_annotations(type(self))
        assert changes.keys() <= declared.keys(), f"{self.OPERATION_NAME} lacks {changes.keys()}"
        given = {name: getattr(self, name) for name in declared} | changes
        attributes = [name for name, kind in declared.items() if kind in ATTRIBUTES]
        operands = [name for name, kind in declared.items() if _is_operand(kind)]
        made = type(self).__new__(type(self))
        made.build(
            [given[name] for name in operands],
            [result.type for result in self.results],
            {name: given[name] for name in attributes},
            loc=self.location,
        )
        return made

    def check(self) -> None:
        """Raise `InvalidOp` if operands, results and attributes do not fit together."""

    def verify_invariants(self) -> bool:
        """Report what `check` finds at the operation's location; MLIR calls this."""
        try:
            check_fields(self, type(self).__annotations__)
            for value in (*self.operands, *self.results):
                check_encoding(value.type)
            self.check()
        except InvalidOp as problem:
            self.location.emit_error(f"'{self.OPERATION_NAME}' {problem}")
            return False
        except Exception as bug:
            # MLIR's C++ calls this function and cannot carry a Python exception through.
            self.location.emit_error(f"the verifier of '{self.OPERATION_NAME}' failed: {bug!r}")
            return False
        return True

    def reference(self, *inputs: "Datum") -> "Datum | tuple[Datum, ...]":
        """Compute the results from the operands' values: the operation's meaning.

        `inputs` are in operand order, absent optional operands left out.
        """
        raise NotImplementedError(f"{self.OPERATION_NAME} has no reference")

    def across(
        self, inputs: "Sequence[Sequence[Datum]]", coordinates: Sequence[Mapping[str, int]]
    ) -> "list[Datum | tuple[Datum, ...]]":
        """Compute the results of all devices of one group: those along `axis`, in their order.

        `inputs[d]` are the operands' values on device d, as for `reference`; `coordinates[d]` is
        its place along every axis of the mesh.  Only a collective operation has this.
        """
        raise NotImplementedError(f"{self.OPERATION_NAME} is not collective")

    def varies(self, operands: frozenset[str]) -> frozenset[str]:
        """Return the axes of a mesh along which devices may have different results.

        `operands` are those along which they may have different operands.
        """
        return operands

    def decompose(self) -> Value | tuple[Value, ...] | None:
        """Build simpler operations that compute the results, and return those values.

        A composite operation runs by these on every target that has nothing better for it.  None:
        there are none, and a target without a lowering takes torch's own from `reference`.
        """
        return None

    def states(self) -> Mapping[str, tuple[int, ...]]:
        """Return name and shape of what a sequence carries from token to token, float32.

        Names are unique among the operations of one layer.
        """
        return {}

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Return the work for `tokens` tokens, each after `context` cached ones."""
        raise NotImplementedError(f"{self.OPERATION_NAME} has no cost")


def _is_operand(annotation: Any) -> bool:
    return annotation is Value or Value in get_args(annotation)


def _attribute_reader(field: str) -> Any:
    def read(self: Op) -> AttributeValue:
        return python_value(self.attributes[field])

    return read
