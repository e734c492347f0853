"""Runs Shardy's passes over StableHLO on standard input; prints the collectives that it inserts.

A program of its own: passes of the bindings may end the process.
"""

import json
import sys
from collections import Counter

from jaxlib.mlir import ir, passmanager
from jaxlib.mlir._mlir_libs import _jax_mlir_ext
from jaxlib.mlir.dialects import sdy, stablehlo

PASSES = (
    "sdy-propagation-pipeline",
    "func.func(sdy-insert-explicit-reshards{enable-full-version=true})",
    "func.func(sdy-reshard-to-collectives)",
)
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "all_slice")


def main() -> None:
    context, registry = ir.Context(), ir.DialectRegistry()
    _jax_mlir_ext.register_dialects(registry)
    context.append_dialect_registry(registry)
    context.load_all_available_dialects()
    stablehlo.register_dialect(context)
    sdy.register_dialect(context)
    with context:
        module = ir.Module.parse(sys.stdin.read())
        for one in PASSES:
            passmanager.PassManager.parse(f"builtin.module({one})").run(module.operation)
    found: Counter[str] = Counter()

    def count(op: ir.Operation) -> ir.WalkResult:
        name = op.name.removeprefix("sdy.")
        if name in COLLECTIVES or name == "collective_permute":
            found[name] += 1
        return ir.WalkResult.ADVANCE

    module.operation.walk(count)
    if "--text" in sys.argv:
        print(module, file=sys.stderr)
    json.dump(found, sys.stdout)


main()
