"""Objects are reproducible and self-contained, and a crash of LLVM is an error with a name."""

import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ingot.ir import ir
from ingot.targets.cpu import codegen
from ingot.targets.cpu.build import F32, I8, I16, constant, intrinsic, loop
from ingot.targets.cpu.codegen import (
    CodegenError,
    begin_levels,
    compile_kernels,
    kernels_to_assembly,
    kernels_to_mlir,
)
from ingot.targets.cpu.codegen_worker import translate_to_llvm_ir
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.kernels.embedding import embedding_kernel
from ingot.targets.cpu.kernels.linear import linear_kernels
from ingot.targets.cpu.levels import AVX2, AVX512, GENERIC, LEVELS, Level

Jit = Callable[..., Any]

CONSTANTS = [0.1, 1e-40, -0.0, 3.4028235e38, float("inf"), -float("inf"), float("nan"), 2.0**112]


def store_constants(_: Level, arguments: Arguments) -> None:
    to = arguments.pointer("y")
    for i, number in enumerate(CONSTANTS):
        to.store(constant(F32, number), 4 * i)


def copy(_: Level, arguments: Arguments) -> None:
    x, y = arguments.pointer("x"), arguments.pointer("y")
    with loop(arguments.begin, arguments.end) as each:
        y.store(x.load(F32, each.index * 4), each.index * 4)


def impossible(_: Level, arguments: Arguments) -> None:
    """A 256-bit instruction, which LLVM cannot select below AVX2 and aborts on."""
    loaded = arguments.pointer("x").load(I8.x(32))
    product = intrinsic("llvm.x86.avx2.pmadd.ub.sw", I16.x(16), loaded, loaded)
    arguments.pointer("x").store(product)


def clear(_: Level, arguments: Arguments) -> None:
    """A loop that LLVM would like to replace by memset."""
    y = arguments.pointer("y")
    with loop(arguments.begin, arguments.end) as each:
        y.store(constant(F32, 0.0), each.index * 4)


COPY = Kernel("copy", (Slot("x"), Slot("y")), copy)
IMPOSSIBLE = Kernel("impossible", (Slot("x"),), impossible)
ALL_KINDS = [
    COPY,
    Kernel("clear", (Slot("y"),), clear),
    embedding_kernel("q4z", 100),
    embedding_kernel("bf16", 100),
    linear_kernels("q4z", 100, bias=True)[0].kernel,
    linear_kernels("q8g", 100, bias=False)[-1].kernel,
    linear_kernels("f32", 100, bias=False)[-1].kernel,
]


def symbols(code: bytes) -> dict[str, int]:
    """Return the named symbols of an ELF object with the section they are in (0: undefined)."""
    (start,) = struct.unpack_from("<Q", code, 0x28)
    size, count, _ = struct.unpack_from("<HHH", code, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, start + size * i) for i in range(count)]
    found = {}
    for _, kind, _, _, offset, length, link, *_ in sections:
        if kind != 2:
            continue
        names = sections[link][4]
        for at in range(offset, offset + length, 24):
            name, _, _, section = struct.unpack_from("<IBBH", code, at)
            text = code[names + name : code.index(b"\0", names + name)].decode()
            found[text] = section
    return {name: section for name, section in found.items() if name}


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_objects_are_reproducible_and_need_no_library(level: Level) -> None:
    once = compile_kernels(ALL_KINDS, level, in_process=True)
    again = compile_kernels(ALL_KINDS[::-1], level, in_process=True)
    assert once == again
    found = symbols(once)
    assert all(found[kernel.name] for kernel in ALL_KINDS)
    assert [name for name, section in found.items() if not section] == []


def test_levels_use_their_instructions_and_no_more() -> None:
    kernel = [linear_kernels("q4z", 100, bias=False)[0].kernel]
    generic, avx2, avx512 = (kernels_to_assembly(kernel, lv) for lv in (GENERIC, AVX2, AVX512))
    assert "pmaddwd" in generic and "ymm" not in generic and "vp" not in generic
    assert "vpmaddubsw" in avx2 and "zmm" not in avx2 and "vfmadd" in avx2
    assert "vpdpbusd" in avx512 and "zmm" in avx512


def test_the_child_process_gives_the_same_bytes() -> None:
    waiting = begin_levels([COPY], [AVX512])
    objects = {level: wait() for level, wait in waiting.items()}
    assert objects == {"avx512": compile_kernels([COPY], AVX512, in_process=True)}


def test_translation_refuses_what_would_crash_it() -> None:
    with ir.Context():
        module = ir.Module.parse(kernels_to_mlir([COPY], GENERIC))
        with pytest.raises(AssertionError, match=r"not lowered .*func.func, func.return"):
            translate_to_llvm_ir(module)


def test_the_worker_imports_nothing_heavy() -> None:
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); "
        "sys.exit(any(name in sys.modules for name in ('ingot.ir', 'torch')))"
    )
    worker = codegen.codegen_worker.__file__
    subprocess.run([sys.executable, "-c", code, worker], check=True)


def test_a_crash_is_an_error_that_names_the_kernel() -> None:
    with pytest.raises(CodegenError, match="generic kernels impossible\n"):
        compile_kernels([IMPOSSIBLE], GENERIC)


def test_the_kernels_that_fail_are_found_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    def worker(text: str) -> subprocess.CompletedProcess[bytes]:
        status = -6 if "@bad" in text else 0
        return subprocess.CompletedProcess([], status, text.encode(), b"aborted")

    monkeypatch.setattr(codegen, "_run_worker", worker)
    names = ["a", "bad_1", "c", "bad_2", "d"]
    kernels = [Kernel(name, COPY.slots, copy) for name in names]
    with pytest.raises(CodegenError, match=r"status -6 on generic kernels bad_1, bad_2\naborted"):
        compile_kernels(kernels, GENERIC)


def test_float_constants_survive_both_syntaxes(jit: Jit, level: Level) -> None:
    y = np.zeros(len(CONSTANTS), np.float32)
    jit([Kernel("constants", (Slot("y"),), store_constants)], level)("constants", [y])
    assert np.array_equal(y, np.array(CONSTANTS, np.float32), equal_nan=True)
    assert np.signbit(y[2])


def test_kernels_of_one_name_are_refused() -> None:
    with pytest.raises(AssertionError, match="one name"):
        compile_kernels([COPY, COPY], GENERIC, in_process=True)


def test_a_kernel_works_on_its_share_only(jit: Jit, level: Level) -> None:
    x, y = np.arange(8, dtype=np.float32) + 1, np.zeros(8, np.float32)
    jit([COPY], level)("copy", [x, y], 2, 5)
    assert list(y) == [0, 0, 3, 4, 5, 0, 0, 0]


def test_generated_mlir_is_readable_text() -> None:
    text = kernels_to_mlir([COPY], GENERIC)
    assert "func.func @copy" in text and "scf.for" in text
