"""Kernels of two objects: those that the first lacks come from the base."""

import ctypes
from functools import partial

import numpy as np
import pytest

from ingot.errors import ArtifactError
from ingot.runtime._native import CodeObject, Error
from ingot.runtime.kernels import Kernels
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
    with pytest.raises(ArtifactError, match="no relocatable x86-64 object"):
        Kernels(b"not an object" * 8, ["one"], base=base)


def test_a_damaged_object_is_an_error() -> None:
    whole = image(one=1, two=2)
    assert set(CodeObject(whole).functions) == {"one", "two"}
    for end in (0, 8, 64, 200, len(whole) // 2, len(whole) - 1):
        with pytest.raises(Error, match="damaged"):
            CodeObject(whole[:end])
    for seed in range(200):  # whatever stands in it: an error, or an object
        damaged = bytearray(whole)
        for place in np.random.default_rng(seed).integers(64, len(whole), 6):
            damaged[place] ^= 0xFF
        try:
            CodeObject(bytes(damaged))
        except Error:
            continue
