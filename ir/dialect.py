"""The `lm` dialect: its two types and the base class of its operations.

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, TypedDict, Unpack, get_args

from ingot.ir.encoding import Encoding
from ingot.ir.mlir import (
    AttributeValue,
    Context,
    FloatAttr,
    InsertionPoint,
    IntegerAttr,
    Location,
    OpResult,
    RankedTensorType,
    StringAttr,
    Type,
    TypeAttr,
    Value,
    attribute_of,
    ext,
    python_value,
)

if TYPE_CHECKING:
    from ingot.ir.interpreter.values import Datum


class LM(ext.Dialect, name="lm"):  # type: ignore[misc, call-arg]
    """The dialect itself; `new_context` loads it."""


class Quant(LM.Type, name="quant"):  # type: ignore[misc, name-defined, call-arg]
    """`!lm.quant<tensor<NxKxf32>, "int4-g32">`: a tensor stored in an encoding."""

    tensor_attribute: TypeAttr
    encoding_attribute: StringAttr

    @classmethod
    def of(cls, logical: RankedTensorType, encoding: Encoding | str) -> "Quant":
        """Return the type of `logical` stored in `encoding`."""
        context = logical.context
        name = StringAttr.get(str(encoding), context)
        quant = cls.get(TypeAttr.get(logical, context), name, context=context)
        assert isinstance(quant, Quant)
        return quant

    @property
    def logical(self) -> RankedTensorType:
        """The tensor that the stored form stands for."""
        return RankedTensorType(TypeAttr(self.tensor_attribute).value)

    @property
    def encoding(self) -> Encoding:
        """How it is stored; raises ValueError for a name that is not known."""
        return Encoding.parse(StringAttr(self.encoding_attribute).value)


class BatchType(LM.Type, name="batch"):  # type: ignore[misc, name-defined, call-arg]
    """`!lm.batch`: everything about a step that is not a tensor of the model."""

    @classmethod
    def of(cls, context: Context) -> "BatchType":
        """Return the type in `context`."""
        batch = cls.get(context=context)
        assert isinstance(batch, BatchType)
        return batch


class Place(TypedDict, total=False):
    """Where an operation is built; what is left out is taken from the context managers in force."""

    loc: Location | None
    ip: InsertionPoint | None


class InvalidOp(Exception):
    """What is wrong with one operation: what was expected, what was found."""


@dataclass(frozen=True)
class Cost:
    """Work of one operation: floating-point operations, and bytes read and written once each."""

    flops: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


_ATTRIBUTES: Mapping[Any, Any] = {
    bool: IntegerAttr,
    int: IntegerAttr,
    float: FloatAttr,
    str: StringAttr,
}


def _constraint(annotation: Any) -> Any:
    """Return what the binding's field annotation is for one of ours."""
    if annotation in _ATTRIBUTES:
        return _ATTRIBUTES[annotation]
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
            if kind in _ATTRIBUTES:
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

    def check(self) -> None:
        """Raise `InvalidOp` if operands, results and attributes do not fit together."""

    def verify_invariants(self) -> bool:
        """Report what `check` finds at the operation's location; MLIR calls this."""
        try:
            _check_fields(self, type(self).__annotations__)
            for value in (*self.operands, *self.results):
                _check_encoding(value.type)
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

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Return the work for `tokens` tokens, each after `context` cached ones."""
        raise NotImplementedError(f"{self.OPERATION_NAME} has no cost")


def _attribute_reader(field: str) -> Any:
    def read(self: Op) -> AttributeValue:
        return python_value(self.attributes[field])

    return read


def _check_fields(op: Op, fields: Mapping[str, Any]) -> None:
    """Check that a parsed operation has what its class declares; MLIR checks this only later."""
    operands = [name for name, kind in fields.items() if kind is Value]
    optional = [name for name, kind in fields.items() if Value in get_args(kind)]
    expected = len(operands), len(operands) + len(optional)
    if not expected[0] <= len(op.operands) <= expected[1]:
        names = ", ".join(operands + [f"{name}?" for name in optional])
        raise InvalidOp(f"needs the operands {names}, found {len(op.operands)}")
    results = [name for name, kind in fields.items() if kind is OpResult]
    if len(op.results) != len(results):
        raise InvalidOp(f"makes {', '.join(results)}, found {len(op.results)} results")
    if optional:
        _check_segments(op, operands, optional)
    for name, kind in fields.items():
        if kind in _ATTRIBUTES:
            _check_attribute(op, name, kind)


def _check_segments(op: Op, operands: Sequence[str], optional: Sequence[str]) -> None:
    sizes = "operandSegmentSizes"
    if sizes not in op.attributes:
        raise InvalidOp(
            f"needs {sizes}, one number for each of {', '.join((*operands, *optional))}"
        )
    found = list(op.attributes[sizes])
    required, rest = found[: len(operands)], found[len(operands) :]
    fits = (
        all(size == 1 for size in required)
        and all(size in (0, 1) for size in rest)
        and len(rest) == len(optional)
        and sum(found) == len(op.operands)
    )
    if not fits:
        raise InvalidOp(f"has {len(op.operands)} operands, but {sizes} is {found}")


def _check_attribute(op: Op, name: str, kind: type) -> None:
    if name not in op.attributes:
        raise InvalidOp(f"needs the attribute {name}")
    attribute = op.attributes[name]
    value = getattr(attribute, "value", None)
    if type(value) is not kind:
        raise InvalidOp(f"needs {name} to be {_KINDS[kind]}, found {attribute}")


_KINDS: Mapping[type, str] = {
    bool: "true or false",
    int: "an integer (i64)",
    float: "a number (f64)",
    str: "a string",
}


def _check_encoding(kind: Type) -> None:
    if not isinstance(kind, Quant):
        return
    try:
        encoding = kind.encoding
    except ValueError as error:
        raise InvalidOp(str(error)) from None
    stored = TypeAttr(kind.tensor_attribute).value
    if not isinstance(stored, RankedTensorType) or stored.rank == 0:
        raise InvalidOp(f"needs a ranked tensor in !lm.quant, found {stored}")
    if kind.logical.rank != 2 and encoding.activation:
        raise InvalidOp(f"rounded activations have 2 dimensions, found {kind}")
