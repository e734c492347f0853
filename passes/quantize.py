"""Chooses how each weight is stored: in an encoding, or as floats of one type."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

from ingot.errors import UsageError
from ingot.ir import (
    BF16Type,
    Block,
    Context,
    Convert,
    Embedding,
    Encoding,
    Experts,
    F32Type,
    InsertionPoint,
    Linear,
    Module,
    Quantize,
    Route,
    Scale,
    SelectRows,
    Softcap,
    Type,
    Value,
    encoding_of,
    known_encodings,
    weight_symbols,
)

from .core import Contract, Pass, blocks, erase_dead, lossy, ops_of, option, rounding, step_block

NONE = "none"
_FLOATS: dict[str, Any] = {"float32": F32Type, "bfloat16": BF16Type}


@dataclass(frozen=True)
class QuantizePass(Pass):
    """Store linear weights, the embedding and the head in encodings; keep those that are stored so.

    `linear`, `embedding` and `head` name an encoding, or `none` for floats; `head` is that of
    `embedding` where left empty, and a table that serves as both is stored once.  `overrides` holds
    `pattern=encoding` for names of weights; the last that matches counts.  What the checkpoint
    stores encoded stays as it is unless `requantize`.  Experts count as linears, and what routes to
    them stays float.  `float` is the type of what stays float
    (float32, bfloat16), as stored where left empty.
    """

    contract: ClassVar[Contract] = lossy("rms", 0.5)

    linear: str = option("int4-g32", help="encoding of linear weights; none: floats")
    embedding: str = option("int8", help="encoding of the embedding; none: floats")
    head: str = option("", help="encoding of the output head; empty: that of the embedding")
    overrides: tuple[str, ...] = option((), help="PATTERN=ENCODING for names of weights")
    requantize: bool = option(False, help="encode anew what the checkpoint stores encoded")
    bits: Literal[0, 4, 8] = option(0, help="short for linear: 4 is int4-gGROUP, 8 is int8")
    group: Literal[0, 32, 64, 128] = option(0, help="elements that share a scale, beside bits")
    float: str = option("", help="float32 or bfloat16: type of what stays float; empty: as stored")

    def promise(self) -> Contract:
        """Return a budget by the coarsest encoding asked for, that of bfloat16 if there is none."""
        rules = (encoding for _, encoding in self._rules())
        asked = {self._linear, self.embedding, self.head or NONE, *rules} - {NONE}
        if not asked:
            return rounding(0.02)
        return lossy("rms", 0.5 if any(Encoding.parse(name).bits <= 4 for name in asked) else 0.05)

    def check(self) -> None:
        self._check_names()
        if self.group and not self.bits:
            raise UsageError(
                f"group={self.group} is given without bits",
                where="pass quantize",
                hint="Write bits=4 group=32, or linear=int4-g32.",
            )
        if self.bits and self.linear != type(self).linear:
            raise UsageError(
                "linear and bits both say how linear weights are stored",
                where="pass quantize",
                hint="Drop one of them.",
            )

    @property
    def _linear(self) -> str:
        """The encoding of linear weights, however it was said."""
        if not self.bits:
            return self.linear
        group = self.group or (32 if self.bits == 4 else 0)
        return f"int{self.bits}" + (f"-g{group}" if group else "")

    def run(self, module: Module) -> None:
        unmatched = {pattern for pattern, _ in self._rules()}
        for block in blocks(module):
            roles = _roles(block, is_step=block == step_block(module))
            for value, role in roles.items():
                encoding = self._encoding(value, role, unmatched)
                stored = self._stored(value, encoding)
                if stored is not value:
                    _read_instead(value, stored)
            erase_dead(block)
        if unmatched:
            raise UsageError(
                f"no weight of a linear or table is called {', '.join(sorted(unmatched))}",
                where="pass quantize, option overrides",
                hint="Patterns match names of weights, as in *.down_proj.weight=int8.",
            )

    def _rules(self) -> list[tuple[str, str]]:
        """Return the overrides as pairs of a pattern and an encoding."""
        rules = [rule.rpartition("=") for rule in self.overrides]
        return [(pattern.strip(), encoding.strip()) for pattern, _, encoding in rules]

    def _check_names(self) -> None:
        for rule in self.overrides:
            if "=" not in rule:
                raise UsageError(
                    f"{rule!r} gives no encoding",
                    where="pass quantize, option overrides",
                    hint="Write pattern=encoding, as in *.down_proj.weight=int8.",
                )
        names = [self._linear, self.embedding, *filter(None, [self.head])]
        for name in names + [encoding for _, encoding in self._rules()]:
            _check_encoding(name)
        if self.float not in ("", *_FLOATS):
            raise UsageError(
                f"{self.float!r} is no type of weights",
                where="pass quantize, option float",
                hint=f"Types: {', '.join(_FLOATS)}.",
            )

    def _encoding(self, value: Value, role: str, unmatched: set[str]) -> Encoding | None:
        """Return the encoding that the options give to a weight; None for floats."""
        head = self.head or self.embedding
        names = {"linear": self._linear, "head": head, "router": NONE}
        name = names.get(role, self.embedding)
        for pattern, encoding in self._rules():
            if any(fnmatchcase(symbol, pattern) for symbol in weight_symbols(value)):
                unmatched.discard(pattern)
                name = encoding
        if role == "embedding and head" and self.head not in ("", name):
            raise UsageError(
                f"is the embedding, as {name}, and the head, as {self.head}",
                where=f"pass quantize, {weight_symbols(value)[0]}",
                hint="Ask for one encoding: the table is stored once.",
            )
        return None if name == NONE else Encoding.parse(name)

    def _stored(self, value: Value, encoding: Encoding | None) -> Value:
        """Return `value` stored as wanted: itself, or made by new ops right after it."""
        present = encoding_of(value)
        if present is not None and (not self.requantize or present == encoding):
            return value
        context = value.context
        with InsertionPoint.after(value.owner), value.owner.location:
            if encoding is not None:
                plain = value if present is None else Convert(value).out
                return Quantize(plain, encoding).out
            wanted = self._float_type(context)
            if present is not None:
                return Convert(value, wanted or F32Type.get(context)).out
            if wanted is None or wanted == value.type.element_type:
                return value
            return Convert(value, wanted).out

    def _float_type(self, context: Context) -> Type | None:
        return _FLOATS[self.float].get(context) if self.float else None


def _check_encoding(name: str) -> None:
    try:
        known = name == NONE or not Encoding.parse(name).activation
    except ValueError:
        known = False
    if not known:
        weights = (one for one in known_encodings() if not Encoding.parse(one).activation)
        raise UsageError(
            f"{name!r} is no encoding of weights",
            where="pass quantize",
            hint=f"Encodings: {', '.join((NONE, *weights))}.",
        )


def _roles(block: Block, *, is_step: bool) -> dict[Value, str]:
    """Return the weights that linears and lookups of tokens read, each with its role."""
    roles: dict[Value, str] = {}
    head = _head(block) if is_step else None
    for op in ops_of(block):
        if isinstance(op, Linear):
            is_head = head is not None and op.operation == head.operation
            role, weight = "head" if is_head else _role_of(op), op.w
        elif isinstance(op, Experts):
            roles |= dict.fromkeys((op.up, op.down), "linear")
            continue
        elif isinstance(op, Embedding) and op.tokens == block.arguments[0]:
            # Learned positions are a small table whose values every layer adds up: left alone.
            role, weight = "embedding", op.table
        else:
            continue
        other = roles.setdefault(weight, role)
        if other != role:
            roles[weight] = "embedding and head"
    return roles


def _role_of(op: Linear) -> str:
    """Return "router" for a linear that chooses experts: small, and rounded it chooses others.

    Any reader of its result but a router makes it an ordinary linear.
    """
    readers = [use.owner for use in op.out.uses]
    return "router" if all(isinstance(reader, Route) for reader in readers) else "linear"


def _head(block: Block) -> Linear | None:
    """Return the linear that makes the logits, None where something else does."""
    value = ops_of(block)[-1].operation.operands[0]
    while isinstance(value.owner, Scale | Softcap | SelectRows):
        value = value.owner.x
    return value.owner if isinstance(value.owner, Linear) else None


def _read_instead(value: Value, stored: Value) -> None:
    """Let the linears, experts and lookups that read `value` read `stored`."""
    for use in list(value.uses):
        if isinstance(use.owner, Linear | Experts | Embedding):
            use.owner.operation.operands[use.operand_number] = stored
