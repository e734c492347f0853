"""Writes a module as a Python program: one row of a table for each operation, one line for each
value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ingot.errors import UnsupportedError
from ingot.ir import (
    Activation,
    Add,
    Attention,
    Embedding,
    Glu,
    Linear,
    Module,
    Mul,
    OpView,
    RmsNorm,
    Rope,
    Scale,
    SelectRows,
    Slice,
    Softcap,
    Value,
    is_weight_expression,
    place_of,
    shape_of,
    weight_symbols,
)
from ingot.targets import ModelFacts, PackedWeight, Program

from . import library

FLOATS = "float32"


@dataclass(frozen=True)
class Source:
    """The plan of this target: the program itself."""

    program: str

    def text(self) -> str:
        """Return the text of the file."""
        return self.program


@dataclass
class Names:
    """What the values met so far are called in the program."""

    values: dict[Value, str] = field(default_factory=dict)
    weights: dict[Value, PackedWeight] = field(default_factory=dict)

    def of(self, value: Value | None) -> str:
        """Return the expression for a value; a weight is noted, to be written."""
        if value is None:
            return "None"
        if value in self.values:
            return self.values[value]
        if value not in self.weights:
            name = f"{len(self.weights)}:" + "+".join(weight_symbols(value))
            size = 4 * prod(shape_of(value))
            self.weights[value] = PackedWeight(name, value, FLOATS, size, size)
        return f"w[{self.weights[value].name!r}]"


Row = Callable[[Names, Any], str]


def _attention(names: Names, op: Attention) -> str:
    if not op.causal or op.chunk or op.sinks is not None or op.slopes is not None or op.value_dim:
        raise _unsupported(op, "this form of attention")
    q, k, v, cache = (names.of(value) for value in (op.q, op.k, op.v, op.batch))
    return (
        f"attention({q}, {k}, {v}, {cache}, layer={op.layer}, heads={op.heads}, "
        f"kv_heads={op.kv_heads}, scale={op.scale!r}, window={op.window}, softcap={op.softcap!r})"
    )


def _rope(names: Names, op: Rope) -> str:
    x, positions, inv_freq = (names.of(value) for value in (op.x, op.positions, op.inv_freq))
    return (
        f"rope({x}, {positions}, {inv_freq}, heads={op.heads}, scale={op.scale!r}, "
        f"interleaved={op.interleaved}, offset={op.offset})"
    )


def _function(op: Activation | Glu) -> str:
    if op.kind not in library.__all__:
        raise _unsupported(op, f"the activation {op.kind}")
    return op.kind


ROWS: Mapping[type[OpView], Row] = {
    Activation: lambda n, op: f"{_function(op)}({n.of(op.x)})",
    Add: lambda n, op: f"{n.of(op.x)} + {n.of(op.y)}",
    Attention: _attention,
    Embedding: lambda n, op: f"{n.of(op.table)}[{n.of(op.tokens)}]",
    Glu: lambda n, op: f"{_function(op)}({n.of(op.gate)}) * {n.of(op.up)}",
    Linear: lambda n, op: f"linear({n.of(op.x)}, {n.of(op.w)}, {n.of(op.bias)})",
    Mul: lambda n, op: f"{n.of(op.x)} * {n.of(op.y)}",
    RmsNorm: lambda n, op: f"rms_norm({n.of(op.x)}, {n.of(op.w)}, {op.eps!r}, {op.heads})",
    Rope: _rope,
    Scale: lambda n, op: f"{n.of(op.x)} * np.float32({op.factor!r})",
    SelectRows: lambda n, op: f"{n.of(op.x)}[{n.of(op.batch)}.rows]",
    Slice: lambda n, op: f"{n.of(op.x)}[:, {op.offset}:{op.offset + op.size}]",
    Softcap: lambda n, op: f"np.tanh({n.of(op.x)} / {op.cap!r}) * np.float32({op.cap!r})",
}


def emit(module: Module, facts: ModelFacts) -> Program:
    """Return the program of a module's step; raise UnsupportedError for what has no row."""
    names = Names()
    block = module.step.entry_block
    arguments = ("tokens", "positions", "cache")
    names.values.update(zip(block.arguments, arguments, strict=True))
    lines: list[str] = []
    *operations, last = block.operations
    for op in operations:
        if all(map(is_weight_expression, op.operation.results)):
            continue
        row = ROWS.get(type(op))
        if row is None:
            raise _unsupported(op, op.operation.name)
        lines.append(f"    v{len(lines)} = {row(names, op)}")
        names.values[op.operation.results[0]] = f"v{len(lines) - 1}"
    lines.append(f"    return {names.of(last.operands[0])}")
    weights = tuple(names.weights.values())
    return Program(Source(_program(lines, weights, facts)), kernels=(), weights=weights)


def _program(lines: list[str], weights: tuple[PackedWeight, ...], facts: ModelFacts) -> str:
    shapes = [f"    {weight.name!r}: {tuple(shape_of(weight.value))}," for weight in weights]
    return "\n".join(
        (
            '"""The step of a model, written by ingot-example-target."""',
            "",
            "import numpy as np",
            "",
            "from ingot_example_target.library import *",
            "",
            f"VOCAB_SIZE, MAX_POSITIONS = {facts.vocab_size}, {facts.max_positions}",
            "SHAPES = {",
            *shapes,
            "}",
            "",
            "",
            "def step(w, tokens, positions, cache):",
            *lines,
            "",
        )
    )


def _unsupported(op: OpView, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"the target example-numpy knows nothing of {what}",
        where=place_of(op.location) or "step",
        hint="Compile with --target cpu.",
    )
