"""A remainder of torch ops on standard input to functions of the llvm dialect on standard output.

A program of its own, because torch-mlir's conversions can end the process that runs them.  The
input is JSON: the text of a module whose function `torch_body` holds the remainder, the text of one
whose function `entry` calls it on memrefs, and the name to give `entry`.  The output is JSON:
`{"mlir": text}`, or `{"error": message, "location": text}`.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping

from ingot.ir import (
    InsertionPoint,
    Location,
    MLIRError,
    MlirModule,
    Operation,
    PassManager,
    ir,
    linalg,
    new_context,
)
from ingot.targets.cpu.generic_gelu import expand_gelu_tanh

# What a lowered remainder may call: the C library, which every process that loads kernels has.
_LIBRARY = re.compile(
    r"malloc|free|(exp|exp2|expm1|log|log2|log10|log1p|pow|tanh|tan|sin|cos|sinh|cosh|atan|atan2|asin"
    r"|acos|asinh|acosh|atanh|erf|erfc|cbrt|fmod|roundeven|round|floor|ceil|trunc)f?"
)

_TO_LINALG = (
    "torchdynamo-export-to-torch-backend-pipeline{backend-legal-ops= extra-library=}",
    "torch-backend-to-linalg-on-tensors-backend-pipeline",
)
_TO_MEMREFS = (
    "inline,symbol-dce,convert-elementwise-to-linalg,canonicalize,cse",
    "linalg-generalize-named-ops,linalg-fuse-elementwise-ops,canonicalize,cse",
    "empty-tensor-to-alloc-tensor",
    "one-shot-bufferize{unknown-type-conversion=identity-layout-map}",
    "buffer-deallocation-pipeline,canonicalize,cse",
)
_TO_LLVM = (
    "func.func(linalg-generalize-named-ops,convert-linalg-to-loops,math-expand-ops{ops=fpowi})",
    "expand-strided-metadata,lower-affine,canonicalize,cse",
    "convert-scf-to-cf,arith-expand,convert-math-to-llvm,convert-math-to-libm,convert-to-llvm",
    "reconcile-unrealized-casts,canonicalize,cse",
)


class ConversionError(Exception):
    """What could not be converted; `location` is MLIR's text for the place of it in the model."""

    def __init__(self, message: str, location: str = "") -> None:
        super().__init__(message)
        self.location = location


def lower(body: str, entry: str, name: str) -> str:
    """Return llvm-dialect text that defines the function `name`; raises ConversionError."""
    with new_context(), Location.unknown():
        module = MlirModule.parse(body)
        expand_gelu_tanh(module.operation)
        _run(module, _TO_LINALG)
        for op in [op for op in _ops(module) if op.name == "cf.assert"]:
            # Checks that sizes which are all the number of tokens are equal.
            op.erase()
        _add_entry(module, MlirModule.parse(entry))
        _run(module, _TO_MEMREFS)
        for op in [op for op in _ops(module) if op.name == "memref.copy"]:
            _copy_by_loops(op)
        _run(module, _TO_LLVM)
        _require_lowered(module)
        return _named(module, name)


def _run(module: MlirModule, stages: tuple[str, ...]) -> None:
    """Run passes; an error that a pass reports without failing is a failure too."""
    errors: list[tuple[str, str]] = []

    def note(diagnostic: ir.Diagnostic) -> bool:
        if diagnostic.severity == ir.DiagnosticSeverity.ERROR:
            errors.append((_clean(diagnostic.message), str(diagnostic.location)))
        return True

    for stage in stages:
        handler = module.context.attach_diagnostic_handler(note)
        try:
            PassManager.parse(f"builtin.module({stage})").run(module.operation)
        except MLIRError as error:
            found = [(_clean(d.message), str(d.location)) for d in error.error_diagnostics]
            errors += found or [(str(error), "")]
        finally:
            handler.detach()
        if errors:
            raise ConversionError(*errors[0])


def _clean(message: str) -> str:
    """Return a diagnostic without the NUL bytes that MLIR leaves where it forms plurals."""
    return message.replace("\0", "")


def _ops(module: MlirModule) -> list[Operation]:
    found: list[Operation] = []

    def visit(op: Operation) -> ir.WalkResult:
        found.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return found


def _add_entry(module: MlirModule, entry: MlirModule) -> None:
    for op in module.body.operations:
        op.attributes["sym_visibility"] = ir.StringAttr.get("private")
    for op in entry.body.operations:
        if op.name.value == "entry":
            op.operation.clone(ip=InsertionPoint(module.body))


def _copy_by_loops(op: Operation) -> None:
    """Copies between layouts would call a library that is not there."""
    with InsertionPoint(op), op.location:
        linalg.copy(op.operands[0], outs=[op.operands[1]])
    op.erase()


def _require_lowered(module: MlirModule) -> None:
    for op in _ops(module):
        if not op.name.startswith(("llvm.", "builtin.module")):
            raise ConversionError(f"{op.name} is left over by the conversion", str(op.location))
        if op.name == "llvm.func" and not op.regions[0].blocks:
            called = ir.StringAttr(op.attributes["sym_name"]).value
            if not _LIBRARY.fullmatch(called):
                raise ConversionError(f"the conversion calls {called}", str(op.location))


def _named(module: MlirModule, name: str) -> str:
    """Return the text with `entry` called `name` and everything else defined called after it."""
    defined = [
        ir.StringAttr(op.attributes["sym_name"]).value
        for op in module.body.operations
        if op.operation.name != "llvm.func" or op.operation.regions[0].blocks
    ]
    names = {old: name if old == "entry" else f"{name}.{old}" for old in defined}
    return re.sub(r"@([\w.$]+)", lambda match: "@" + names.get(match[1], match[1]), str(module))


def _answer(request: Mapping[str, str], convert: Callable[[str, str, str], str]) -> dict[str, str]:
    try:
        return {"mlir": convert(request["body"], request["entry"], request["name"])}
    except ConversionError as error:
        return {"error": str(error), "location": error.location}


if __name__ == "__main__":
    json.dump(_answer(json.load(sys.stdin), lower), sys.stdout)
