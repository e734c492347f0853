"""Names for values that say what they are: `%q_proj.7` is what `….layers.7.….q_proj` gives.

A value is named by the module of the model if that owns the weights it is computed with, by its
operation otherwise.  The layer's number follows; a name that is taken gets a number as well.
"""

import re
from collections.abc import Callable, Iterator

from ingot.ir.interpreter.weights import weight_symbols
from ingot.ir.locations import source_of, sources_of
from ingot.ir.mlir import OpResult, OpView, Value, func
from ingot.ir.module import STEP
from ingot.ir.operation import Op
from ingot.ir.ops.embedding import Embedding
from ingot.ir.ops.linear import Linear
from ingot.ir.ops.slice import Slice
from ingot.ir.placement import is_weight_expression

STEP_ARGUMENTS = ("tokens", "positions", "batch")
DERIVED = {
    "rope": "rope",
    "round": "rounded",
    "scale": "scaled",
    "select_rows": "selected",
    "softcap": "capped",
}
"""Operations whose results are named after their operand, with what is put behind its name."""

_LAYER = re.compile(r"^(?:.*?\.)?(\d+)(?=\.|$)")
_LONGEST = 40


def layer_of(module: str) -> str:
    """Return the part of a module path up to its first number, '' where there is none."""
    match = _LAYER.match(module)
    return match[0] if match else ""


def name_values(
    function: func.FuncOp, is_inline: Callable[[OpView], bool] = lambda op: False
) -> dict[Value, str]:
    """Return a name, without the `%`, for every argument and every result of a function.

    What `is_inline` gets none: it is written where it is read.
    """
    block = function.entry_block
    plain = [f"arg{index}" for index in range(len(block.arguments))]
    is_step = function.name.value == STEP and len(plain) == len(STEP_ARGUMENTS)
    names: dict[Value, str] = dict(
        zip(block.arguments, STEP_ARGUMENTS if is_step else plain, strict=True)
    )
    taken = set(names.values())
    bases: dict[Value, str] = {}
    for op in block.operations:
        if is_inline(op):
            continue
        match = _LAYER.match(source_of(op.location).module)
        for value, base in _bases(op, bases):
            bases[value] = base
            names[value] = _free(base, f".{match[1]}" if match else "", taken)
    return names


def _free(base: str, suffix: str, taken: set[str]) -> str:
    """Return `base` with `suffix`, and with a number where that is taken; it is taken then."""
    name, number = base + suffix, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}{suffix}"
    taken.add(name)
    return name


def _bases(op: OpView, known: dict[Value, str]) -> Iterator[tuple[Value, str]]:
    """Give the name of each result, layer and number aside."""
    base = _base(op, known)
    results = list(op.results)
    fields = [name for name, kind in type(op).__annotations__.items() if kind is OpResult]
    if not isinstance(op, Op) or len(fields) != len(results):
        fields = ["out"] * len(results)
    for value, field in zip(results, fields, strict=True):
        yield value, base if field == "out" else field


def _base(op: OpView, known: dict[Value, str]) -> str:
    name = str(op.operation.name).removeprefix("lm.").removeprefix("torch.")
    if isinstance(op, func.CallOp):
        return str(op.callee.value)
    if not isinstance(op, Op):
        return re.sub(r"\W.*", "", name.removeprefix("aten.").removeprefix("prim.")) or "value"
    if name in DERIVED:
        operand = known.get(op.operands[0], "")
        return f"{operand}_{DERIVED[name]}" if operand else DERIVED[name]
    return _module_name(op) or name


def _module_name(op: Op) -> str:
    """Return the last part of the module that owns the weights of `op`, '' if none does."""
    modules = list(dict.fromkeys(source.module for source in sources_of(op.location)))
    symbols = _symbols(op)
    inner = [m for m in modules if m and not any(o.startswith(f"{m}.") for o in modules)]
    owners = [m for m in inner if any(symbol.startswith(f"{m}.") for symbol in symbols)]
    if not owners and isinstance(op, Linear | Embedding):
        owners = [module for module in modules[:1] if module]
    joined = "+".join(module.rpartition(".")[2] for module in owners)
    return joined if re.match(r"[A-Za-z_]", joined) and len(joined) <= _LONGEST else ""


def _symbols(op: Op) -> list[str]:
    """Return the weights that `op` reads, or for a slice those of what is sliced."""
    if isinstance(op, Slice) and isinstance(op.x.owner, Op):
        return _symbols(op.x.owner)
    weights = filter(is_weight_expression, op.operands)
    return [symbol for value in weights for symbol in weight_symbols(value)]
