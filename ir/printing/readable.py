"""Prints a module for a reader.

    step(%tokens : i32 [T], %positions : i32 [T], %batch : batch) -> [T, 49152] {
      %embed_tokens = lm.embedding %tokens, @model.embed_tokens.weight : int8 [999, 576] -> [T, 576]

      // model.layers.0
      %q_proj.0 = lm.linear %input_layernorm.0, @….q_proj.weight : int4-g32 [576, 576] -> [T, 576]

Attributes at their default are left out.  `on dp2xtp4` names the mesh that runs the step, and
`as [-, tp]` how a value is divided over it.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import get_args

from ingot.ir.fields import ATTRIBUTES
from ingot.ir.locations import source_of, sources_of
from ingot.ir.mlir import AttributeValue, OpView, StringAttr, Value, func
from ingot.ir.module import MESH, STEP, Module
from ingot.ir.operation import Op
from ingot.ir.ops.concat import Concat
from ingot.ir.ops.select_rows import SelectRows
from ingot.ir.ops.to_torch import ToTorch
from ingot.ir.ops.weight import Weight
from ingot.ir.placement import is_weight_expression
from ingot.ir.sharding import SHARDING

from .names import layer_of, name_values
from .types import ROWS, TOKENS, format_type

_INLINE = (
    "torch.constant.",
    "torch.prim.ListConstruct",
)
"""Operations of torch whose results are written where they are read."""


def readable(module: Module, locations: bool = False) -> str:
    """Return the text of a module; with `locations`, each line ends with where it comes from."""
    functions = sorted(module.functions, key=lambda function: function.name.value != STEP)
    return "\n".join(_Printer(function, locations).text() for function in functions)


def format_attributes(op: Op) -> str:
    """Return ` {name=value, …}` of the attributes that are not at their default, '' for none."""
    defaults = defaults_of(type(op))
    fields = [name for name, kind in type(op).__annotations__.items() if kind in ATTRIBUTES]
    pairs = [
        f"{name}={format_value(value)}"
        for name in fields
        if (value := getattr(op, name)) != defaults.get(name)
    ]
    return f" {{{', '.join(pairs)}}}" if pairs else ""


def format_value(value: AttributeValue) -> str:
    """Return a Python value as it is written in attributes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z_]\w*", value):
        return json.dumps(value)
    return str(value)


def defaults_of(kind: type[Op]) -> Mapping[str, object]:
    """Return the defaults of the attributes of an operation: those of its constructor."""
    parameters = inspect.signature(kind).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


def is_inline(op: OpView) -> bool:
    """Return whether `op` is written where its result is read: a weight, a constant of torch."""
    if str(op.operation.name).startswith(_INLINE):
        return True
    results = list(op.results)
    if isinstance(op, ToTorch):
        return is_weight_expression(op.x)
    return bool(results) and all(map(is_weight_expression, results))


class _Printer:
    """Prints one function."""

    def __init__(self, function: func.FuncOp, locations: bool) -> None:
        self._function, self._locations = function, locations
        self._names = name_values(function, is_inline)
        self._selected: set[Value] = set()

    def text(self) -> str:
        block = self._function.entry_block
        name = self._function.name.value
        arguments = ", ".join(
            f"{self._value(value)} : {format_type(value.type)}" for value in block.arguments
        )
        body = list(self._body(list(block.operations)))
        results = ", ".join(self._type(value) for value in list(block.operations)[-1].operands)
        title = name if name == STEP else f"func {name}"
        mesh = self._function.attributes[MESH].value if MESH in self._function.attributes else ""
        devices = f" on {mesh}" if mesh else ""
        return "\n".join([f"{title}({arguments}) -> {results}{devices} {{", *body, "}", ""])

    def _body(self, operations: list[OpView]) -> Iterator[str]:
        group = ""
        for op in operations:
            self._note_rows(op)
            if is_inline(op):
                continue
            here = layer_of(source_of(op.location).module)
            if here != group:
                yield ""
                if here:
                    yield f"  // {here}"
            group = here
            yield from self._lines(op)

    def _note_rows(self, op: OpView) -> None:
        """Note which results have a row for each selected token only."""
        if isinstance(op, SelectRows) or any(value in self._selected for value in op.operands):
            self._selected.update(op.results)

    def _lines(self, op: OpView) -> Iterator[str]:
        if op.operation.regions:
            yield from ("  " + line for line in str(op.operation.get_asm()).splitlines())
            return
        text = self._line(op)
        sources = sources_of(op.location)
        if self._locations and sources:
            more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
            text += f"  // {sources[0]}{more}"
        yield f"  {text}"

    def _line(self, op: OpView) -> str:
        if isinstance(op, func.ReturnOp):
            return "return " + ", ".join(map(self._value, op.operands))
        name = str(op.operation.name)
        if isinstance(op, func.CallOp):
            text = f"call @{op.callee.value} " + ", ".join(map(self._value, op.operands))
        elif isinstance(op, Op):
            text = f"{name} {self._operands(op)}{format_attributes(op)}"
        else:
            operands = ", ".join(map(self._value, op.operands))
            text = f"{_torch_name(op)} {operands}".rstrip()
        if not len(op.results):
            return text
        results = ", ".join(map(self._value, op.results))
        types = ", ".join(map(self._type, op.results))
        return f"{results} = {text} -> {types}{_divided(op)}"

    def _operands(self, op: Op) -> str:
        """Return the operands; those that may be left out are named."""
        if isinstance(op, Concat):
            return ", ".join(map(self._value, op.parts))
        texts = []
        for name, kind in type(op).__annotations__.items():
            if kind is Value:
                texts.append(self._value(getattr(op, name)))
            elif Value in get_args(kind) and getattr(op, name) is not None:
                texts.append(f"{name}={self._value(getattr(op, name))}")
        return ", ".join(texts)

    def _value(self, value: Value) -> str:
        """Return a value where it is read: its name, or what it is where that is inline."""
        owner = value.owner
        if not isinstance(owner, OpView) or not is_inline(owner):
            return f"%{self._names[value]}"
        if isinstance(owner, Weight):
            symbol = owner.symbol
            quoted = symbol if re.fullmatch(r"[\w.]+", symbol) else json.dumps(symbol)
            return f"@{quoted} : {format_type(value.type)}{_divided(owner)}"
        if isinstance(owner, ToTorch):
            return self._value(owner.x)
        if isinstance(owner, Op):
            name = str(owner.operation.name).removeprefix("lm.")
            text = f"{name}({self._operands(owner)}){format_attributes(owner)}"
            return f"{text} : {format_type(value.type)}{_divided(owner)}"
        return _constant(owner) or "[" + ", ".join(map(self._value, owner.operands)) + "]"

    def _type(self, value: Value) -> str:
        return format_type(value.type, ROWS if value in self._selected else TOKENS)


def _divided(op: OpView) -> str:
    """Return how the results are divided over a mesh, where the operation says so."""
    return f" as {op.attributes[SHARDING].value}" if SHARDING in op.attributes else ""


def _torch_name(op: OpView) -> str:
    name = str(op.operation.name)
    attributes = op.operation.attributes
    if name == "torch.operator" and "name" in attributes:
        return str(StringAttr(attributes["name"]).value)
    shown = ", ".join(f"{key}={attributes[key]}" for key in attributes)
    return f"{name} {{{shown}}}" if shown and name != "torch.vtensor.literal" else name


def _constant(op: OpView) -> str:
    """Return a constant of torch as text, '' for what is none."""
    name = str(op.operation.name)
    if not name.startswith("torch.constant."):
        return ""
    if "value" not in op.operation.attributes:
        return name.removeprefix("torch.constant.")
    return str(op.operation.attributes["value"]).partition(" : ")[0]
