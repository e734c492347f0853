"""Kernels of two objects: those that the first lacks come from the base."""

import ctypes
from functools import partial

import pytest

from ingot.errors import ArtifactError
from ingot.runtime.kernels import Kernels
from ingot.runtime.object_file import functions_of
from ingot.targets.cpu.build import I32, constant
from ingot.targets.cpu.codegen import compile_kernels
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import GENERIC, Level

PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


def write(level: Level, arguments: Arguments, *, number: int) -> None:
    arguments.pointer("y").store(constant(I32, number))


def image(**numbers: int) -> bytes:
    """Return an object of kernels that write a number each."""
    kernels = [Kernel(name, (Slot("y"),), partial(write, number=n)) for name, n in numbers.items()]
    return compile_kernels(kernels, GENERIC, in_process=True)


def call(address: int) -> int:
    result = ctypes.c_int32()
    slots = (ctypes.c_int64 * 1)(ctypes.addressof(result))
    PROTOTYPE(address)(ctypes.addressof(slots), 0, 1, None)
    return result.value


def test_an_object_goes_before_its_base() -> None:
    own, base = image(one=1, two=2), image(two=-2, three=3)
    kernels = Kernels(own, ["one", "two", "three"], base=base)
    assert {name: call(at) for name, at in kernels.addresses.items()} == {
        "one": 1,
        "two": 2,
        "three": 3,
    }


def test_what_neither_has_is_an_error() -> None:
    own, base = image(one=1), image(two=2)
    with pytest.raises(ArtifactError, match="cannot be linked"):
        Kernels(own, ["one", "four"], base=base)
    with pytest.raises(ArtifactError, match="no 64-bit ELF object"):
        Kernels(b"not an object", ["one"], base=base)


def test_functions_of_an_object() -> None:
    assert functions_of(image(one=1, two=2)) == {"one", "two"}
    with pytest.raises(ValueError, match="damaged"):
        functions_of(image(one=1)[:200])
