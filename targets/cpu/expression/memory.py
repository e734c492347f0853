"""Addresses: loads, stores and prefetches of scalars and vectors."""

from dataclasses import dataclass
from typing import Any

from ingot.ir import ir, llvm

from .types import I8, I32, I64, Type
from .values import Number, Value, constant, splat

TO_FIRST_CACHE, TO_SECOND_CACHE = 3, 2
"""How near a line is to come that a prefetch asks for."""


@dataclass(frozen=True, eq=False)
class Pointer:
    """An address; offsets count bytes."""

    mlir: Any

    def at(self, offset: Number) -> "Pointer":
        """Return the address `offset` bytes (a number or an i64) further on."""
        if isinstance(offset, int) and offset == 0:
            return self
        byte, pointer = I8.mlir(), self.mlir.type
        if isinstance(offset, Value):
            assert offset.type == I64
            indices, constants = [offset.mlir], [-(2**31)]
        else:
            assert isinstance(offset, int) and offset < 2**31
            indices, constants = [], [offset]
        flags = ir.IntegerAttr.get(I32.mlir(), 0)
        return Pointer(llvm.getelementptr(pointer, self.mlir, indices, constants, byte, flags))

    def load(self, type_: Type, offset: Number = 0, align: int | None = None) -> Value:
        """Load a scalar or vector; `align` is in bytes (default: that of one element)."""
        address = self.at(offset).mlir
        align = align or max(type_.bits // 8, 1)
        return Value(llvm.load(type_.mlir(), address, alignment=align), type_)

    def load_pointer(self, offset: Number = 0) -> "Pointer":
        """Load an address."""
        address = self.at(offset).mlir
        return Pointer(llvm.load(address.type, address, alignment=8))

    def load_splat(self, type_: Type, offset: Number = 0, align: int | None = None) -> Value:
        """Load one element into every lane of a vector type."""
        return splat(self.load(type_.scalar, offset, align), type_.lanes)

    def store(self, value: Value, offset: Number = 0, align: int | None = None) -> None:
        """Store a scalar or vector."""
        align = align or max(value.type.bits // 8, 1)
        llvm.store(value.mlir, self.at(offset).mlir, alignment=align)

    def load_masked(self, type_: Type, mask: Value, offset: Number = 0) -> Value:
        """Load the lanes where `mask` holds; the others are zero and their memory is not read."""
        zero = constant(type_, 0)
        address, align = self.at(offset).mlir, type_.bits // 8
        loaded = llvm.intr_masked_load(type_.mlir(), address, mask.mlir, align, pass_thru=zero.mlir)
        return Value(loaded, type_)

    def store_pointer(self, address: "Pointer", offset: Number = 0) -> None:
        """Store an address."""
        llvm.store(address.mlir, self.at(offset).mlir, alignment=8)

    def store_masked(self, value: Value, mask: Value, offset: Number = 0) -> None:
        """Store the lanes where `mask` holds; the others are not touched."""
        align = value.type.bits // 8
        llvm.intr_masked_store(value.mlir, self.at(offset).mlir, mask.mlir, align)

    def prefetch(self, offset: Number = 0, locality: int = TO_FIRST_CACHE) -> None:
        """Ask for the cache line at an address, for reading; it need not be mapped."""
        llvm.intr_prefetch(self.at(offset).mlir, 0, locality, 1)


def stack_words(count: int) -> Pointer:
    """Return `count` words of 8 bytes on the stack; not to be called in a loop."""
    number = llvm.mlir_constant(ir.IntegerAttr.get(I64.mlir(), count))
    pointer = ir.Type.parse("!llvm.ptr")
    return Pointer(llvm.alloca(pointer, number, I64.mlir(), alignment=8))
