"""A kernel: its name, the slots that it reads and the generator of its body.

Every kernel is `void (const int64_t *slots, int64_t begin, int64_t end, void *scratch)`;
docs/architecture.md, section 5, says what the arguments mean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ingot.ir import func, ir

from .build import I64, Pointer, Value
from .levels import Level

SCRATCH_BYTES = 256 * 1024

SlotKind = Literal["pointer", "integer"]


@dataclass(frozen=True)
class Slot:
    """One entry of the slot array, by name."""

    name: str
    kind: SlotKind = "pointer"


@dataclass(frozen=True, eq=False)
class Arguments:
    """What a body computes with: the slots, its share `begin..end` of the units, its scratch.

    `array` is where the slots lie in memory.
    """

    slots: tuple[Slot, ...]
    values: tuple[Pointer | Value, ...]
    array: Pointer
    begin: Value
    end: Value
    scratch: Pointer

    def _slot(self, name: str) -> Pointer | Value:
        return self.values[[slot.name for slot in self.slots].index(name)]

    def pointer(self, name: str) -> Pointer:
        """Return the address in the slot called `name`."""
        value = self._slot(name)
        assert isinstance(value, Pointer), f"slot {name} is an integer"
        return value

    def integer(self, name: str) -> Value:
        """Return the i64 in the slot called `name`."""
        value = self._slot(name)
        assert isinstance(value, Value), f"slot {name} is a pointer"
        return value


@dataclass(frozen=True)
class Kernel:
    """A kernel to be generated for any level.

    The name is the symbol in the object file: two kernels of one name must compute the same.
    `needs` are kernels that the body calls: whoever compiles this one compiles those too.
    `levels` are the names of those that have it; empty: all.  `bf16` says that the code depends on
    `Level.bf16_dot`: the objects of levels with a base hold such kernels only.
    """

    name: str
    slots: tuple[Slot, ...]
    body: Callable[[Level, Arguments], None]
    needs: tuple["Kernel", ...] = ()
    levels: frozenset[str] = frozenset()
    bf16: bool = False

    def emit(self, level: Level) -> None:
        """Add the function to the module at the current insertion point."""
        pointer, integer = ir.Type.parse("!llvm.ptr"), I64.mlir()
        function = func.FuncOp(self.name, ([pointer, integer, integer, pointer], []))
        function.attributes["llvm.passthrough"] = _attributes(level)
        block = function.add_entry_block()
        with ir.InsertionPoint(block):
            slots, begin, end, scratch = block.arguments
            array = Pointer(slots)
            values = tuple(_read(array, slot, 8 * i) for i, slot in enumerate(self.slots))
            shares = Value(begin, I64), Value(end, I64)
            self.body(level, Arguments(self.slots, values, array, *shares, Pointer(scratch)))
            func.ReturnOp([])


def call_kernel(kernel: Kernel, slots: Pointer, begin: Value, end: Value, scratch: Pointer) -> None:
    """Call a kernel that the one being built `needs`, with a slot array in memory."""
    operands = [slots.mlir, begin.mlir, end.mlir, scratch.mlir]
    func.CallOp([], kernel.name, operands)


def _read(array: Pointer, slot: Slot, offset: int) -> Pointer | Value:
    return array.load_pointer(offset) if slot.kind == "pointer" else array.load(I64, offset)


def _attributes(level: Level) -> Any:
    pairs = [
        ir.ArrayAttr.get([ir.StringAttr.get(key), ir.StringAttr.get(value)])
        for key, value in level.passthrough.items()
        if value
    ]
    # A kernel does not throw, so it needs no unwind tables; and a loop that copies or clears must
    # not become a call of the C library, which the object could not resolve.
    flags = [ir.StringAttr.get(name) for name in ("nounwind", "no-builtins")]
    return ir.ArrayAttr.get([*pairs, *flags])
