"""MLIR text on standard input to an object file on standard output.

It runs as a program of its own and uses two LLVMs: the bindings lower MLIR to LLVM IR, and
llvmlite optimises it and writes the object for a target that is stated here and not taken from
this machine.

It imports the bindings themselves and nothing of Ingot, whose packages import torch: that would
take the process longer than most objects.
"""

import re
import struct
import sys
from typing import Any

import llvmlite.binding as llvm
from torch_mlir import ir
from torch_mlir.dialects.llvm import translate_module_to_llvmir
from torch_mlir.passmanager import PassManager

_TRIPLE = "x86_64-unknown-linux-gnu"
_LOWERING = (
    "builtin.module(canonicalize,cse,convert-scf-to-cf,convert-vector-to-llvm,"
    "convert-math-to-llvm,convert-to-llvm,reconcile-unrealized-casts)"
)
_FLOAT = re.compile(r"(?<![\w.%@])(?:f0x([0-9A-F]+)|([+-](?:inf|qnan))|(-?\d+\.\d+e[+-]\d+))\b")
_DOUBLE = re.compile(r"\bdouble\b")


def object_of(mlir: str) -> bytes:
    """Compile a module to a relocatable object."""
    machine = _target_machine()
    return bytes(machine.emit_object(_optimised(mlir, machine)))


def assembly_of(mlir: str) -> str:
    """Compile a module to assembly."""
    machine = _target_machine()
    return str(machine.emit_assembly(_optimised(mlir, machine)))


def llvm_ir_of(mlir: str) -> str:
    """Lower a module to LLVM IR in the syntax of llvmlite's LLVM, not optimised."""
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.parse(mlir)
        PassManager.parse(_LOWERING).run(module.operation)
        return _older_syntax(translate_to_llvm_ir(module))


def translate_to_llvm_ir(module: ir.Module) -> str:
    """Return the text of LLVM IR for a module that holds only the llvm dialect.

    The binding crashes the process on anything it cannot translate, so what is not in the llvm
    dialect is refused here by name.
    """
    foreign: set[str] = set()

    def visit(operation: ir.Operation) -> ir.WalkResult:
        if not operation.name.startswith(("llvm.", "builtin.module")):
            foreign.add(operation.name)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    assert not foreign, f"not lowered to the llvm dialect: {', '.join(sorted(foreign))}"
    assert module.operation.verify()
    return str(translate_module_to_llvmir(module.operation))


def _optimised(mlir: str, machine: Any) -> Any:
    module = llvm.parse_assembly(llvm_ir_of(mlir))
    module.name = "kernels"
    module.triple = _TRIPLE
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def _target_machine() -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(_TRIPLE).create_target_machine(
        cpu="x86-64", features="", opt=3, reloc="pic", codemodel="small"
    )


def _older_syntax(llvm_ir: str) -> str:
    """Return LLVM 24's text in LLVM 22's syntax.

    LLVM 24 writes an f32 as the shortest decimal, as its bits (f0x…) or by name (+inf, +qnan);
    LLVM 22 wants the bits of the double of the same value.  What this misreads, LLVM 22 refuses.
    """
    return "\n".join(
        _FLOAT.sub(_keep_decimal if _DOUBLE.search(line) else _as_double, line)
        for line in llvm_ir.split("\n")
    )


def _keep_decimal(match: re.Match[str]) -> str:
    """Both versions write the decimals of an f64 alike."""
    return match[0] if match[3] else _as_double(match)


def _as_double(match: re.Match[str]) -> str:
    bits, name, decimal = match.groups()
    if bits and len(bits) == 16:
        return f"0x{bits}"
    if bits:
        assert len(bits) == 8, f"{match[0]}: only f32 and f64 constants are expected"
        (number,) = struct.unpack(">f", bytes.fromhex(bits))
    elif name:
        number = float(name.replace("q", ""))
    else:
        (number,) = struct.unpack("f", struct.pack("f", float(decimal)))
    return f"0x{struct.pack('>d', number).hex().upper()}"


if __name__ == "__main__":
    sys.stdout.buffer.write(object_of(sys.stdin.read()))
