"""Programs: a module with one function, and the loops in it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from jaxlib.mlir import ir
from jaxlib.mlir._mlir_libs import _jax_mlir_ext
from jaxlib.mlir.dialects import func
from jaxlib.mlir.dialects import stablehlo as hlo

from .array import Array, array_of, type_of

MAIN = "main"

ArrayType = tuple[tuple[int, ...], str]
"""Shape and element type of an argument."""


def loop(
    start: Array | int,
    stop: Array | int,
    carry: Sequence[Array],
    body: Callable[..., Sequence[Array]],
) -> list[Array]:
    """Run `carry = body(i, *carry)` for i from `start` to `stop` - 1, int32 scalars."""
    first, last = array_of(start, "i32").reshape(), array_of(stop, "i32").reshape()
    operands = [one.value for one in (first, last, *carry)]
    types = [one.type for one in operands]
    made = hlo.WhileOp(types, operands)
    condition = made.regions[0].blocks.append(*types)
    with ir.InsertionPoint(condition):
        i, end = map(Array, list(condition.arguments)[:2])
        hlo.return_([(i < end).value])
    block = made.regions[1].blocks.append(*types)
    with ir.InsertionPoint(block):
        i, end, *state = map(Array, block.arguments)
        results = body(i, *state)
        for old, new in zip(state, results, strict=True):
            assert old.value.type == new.value.type, f"{old.value.type} became {new.value.type}"
        hlo.return_([one.value for one in (i + 1, end, *results)])
    return [Array(one) for one in list(made.results)[2:]]


def custom_call(
    operands: Sequence[Array], result: ArrayType, attributes: Mapping[str, str]
) -> Array:
    """Return the result of a kernel that stands in the program, with attributes as MLIR text."""
    parsed = {name: ir.Attribute.parse(text) for name, text in attributes.items()}
    made = ir.Operation.create(
        "stablehlo.custom_call",
        results=[type_of(*result)],
        operands=[one.value for one in operands],
        attributes=parsed,
    )
    return Array(made.result)


@contextmanager
def named(place: str) -> Iterator[None]:
    """Give what is built inside a name that the compiled program's operations show."""
    with ir.Location.name(place):
        yield


def build(
    arguments: Sequence[ArrayType],
    body: Callable[[list[Array]], tuple[Sequence[Array], dict[int, int]]],
    devices: int = 1,
) -> str:
    """Return the text of a module whose function `main` is what `body` builds.

    `body` takes the arguments and returns the results, and which argument (by number) gives its
    memory to which result.  The program runs on `devices` replicas.
    """
    with _context(), ir.Location.unknown():
        module = ir.Module.create()
        i32 = ir.IntegerType.get_signless(32)
        module.operation.attributes["mhlo.num_replicas"] = ir.IntegerAttr.get(i32, devices)
        module.operation.attributes["mhlo.num_partitions"] = ir.IntegerAttr.get(i32, 1)
        types = [type_of(shape, dtype) for shape, dtype in arguments]
        with ir.InsertionPoint(module.body):
            main = func.FuncOp(MAIN, (types, []), visibility="public")
        block = main.add_entry_block()
        with ir.InsertionPoint(block):
            results, donated = body([Array(one) for one in block.arguments])
            values = [one.value for one in results]
            func.ReturnOp(values)
        main.attributes["function_type"] = ir.TypeAttr.get(
            ir.FunctionType.get(types, [value.type for value in values])
        )
        alias = [
            {"tf.aliasing_output": ir.IntegerAttr.get(i32, donated[i])} if i in donated else {}
            for i in range(len(types))
        ]
        main.arg_attrs = ir.ArrayAttr.get([ir.DictAttr.get(one) for one in alias])
        module.operation.verify()
        return str(module.operation.get_asm(enable_debug_info=True))


def portable(text: str) -> bytes:
    """Return a module's text as an artifact that StableHLO reads for years."""
    data: bytes = hlo.serialize_portable_artifact_str(text, hlo.get_current_version())
    return data


@cache
def _context() -> Any:
    context, registry = ir.Context(), ir.DialectRegistry()
    _jax_mlir_ext.register_dialects(registry)
    context.append_dialect_registry(registry)
    context.load_all_available_dialects()
    hlo.register_dialect(context)
    return context
