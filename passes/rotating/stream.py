"""The residual stream: what is added up from the embedding to the head, who adds and who reads."""

from dataclasses import dataclass, field

from ingot.errors import UsageError
from ingot.ir import (
    Add,
    AddRmsNorm,
    Block,
    Embedding,
    Experts,
    Linear,
    OpView,
    RmsNorm,
    Scale,
    SelectRows,
    Value,
    is_rounded,
)
from ingot.passes.core import ops_of, users


@dataclass
class Stream:
    """Everything that a rotation of the features of the residual stream changes.

    `tables` and `writers` make values of the stream; `readers` maps those who multiply such values
    to the scale `[features]` of the norm between, None without one; `norms` normalise them.
    """

    tables: list[Embedding] = field(default_factory=list)
    writers: list[Linear | Experts] = field(default_factory=list)
    readers: dict[Linear | Experts, Value | None] = field(default_factory=dict)
    norms: list[RmsNorm | AddRmsNorm] = field(default_factory=list)
    _seen: set[Value] = field(default_factory=set)

    def make(self, value: Value) -> None:
        """Take in a value of the stream: whoever makes it must make it rotated."""
        if value in self._seen:
            return
        self._seen.add(value)
        op = value.owner
        match op:
            case Embedding():
                self.tables.append(op)
            case Linear() | Experts():
                self.writers.append(op)
            case Add():
                self.make(op.x)
                self.make(op.y)
            case AddRmsNorm() if value == op.sum:
                self.make(op.x)
                self.make(op.residual)
            case Scale() | SelectRows():
                self.make(op.x)
            case _:
                raise _refusal(op)
        self._follow(value, None)

    def _follow(self, value: Value, scale: Value | None) -> None:
        """Take in who reads a value of the stream, or with `scale` one that was normalised."""
        for op in users(value):
            match op:
                case Linear() | Experts() if op.x == value:
                    self.readers[op] = scale
                case SelectRows() | Scale() if scale is not None:
                    self._follow(op.out, scale)
                case SelectRows() | Scale() | Add() if scale is None:
                    self.make(op.out)
                case RmsNorm() if scale is None and op.heads == 1 and not is_rounded(op.out):
                    self._normalise(op)
                case AddRmsNorm() if scale is None and not is_rounded(op.out):
                    self.make(op.sum)
                    self._normalise(op)
                case _:
                    raise _refusal(op)

    def _normalise(self, norm: RmsNorm | AddRmsNorm) -> None:
        if norm not in self.norms:
            self.norms.append(norm)
            self._follow(norm.out, norm.w)


def find_stream(block: Block) -> Stream:
    """Return the residual stream of a step, which begins at the embedding of its tokens.

    Raises UsageError, which names the operation, where something is done to it that a rotation
    would change: a layer norm, whose mean is over features, a product, a norm before the sum.
    """
    stream = Stream()
    for op in ops_of(block):
        if isinstance(op, Embedding) and op.tokens == block.arguments[0]:
            stream.make(op.out)
    return stream


def _refusal(op: OpView | Block) -> UsageError:
    name = op.operation.name if isinstance(op, OpView) else "an input of the step"
    where = f", {op.location}" if isinstance(op, OpView) else ""
    return UsageError(
        f"{name} does not commute with a rotation of the features that it takes or makes",
        where=f"pass rotate{where}",
        hint="Only models whose residual stream is read through RMS norms can be rotated; run the "
        "pass before activations are rounded (rotate@before=quantize).",
    )
