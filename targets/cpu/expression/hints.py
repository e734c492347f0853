"""Where a kernel's instructions are to stay as written, against what LLVM would make of them."""

from ingot.ir import llvm

from .types import I64
from .values import Value, constant


def keep_memory_order() -> None:
    """Keep loads and stores on their side of this point; no instruction is made.

    A hardware prefetcher follows addresses in their order, which LLVM's scheduler does not keep.
    """
    llvm.inline_asm(None, [], "", "~{memory}", has_side_effects=True)


def opaque(number: int) -> Value:
    """Return an i64 that LLVM does not know, so that it unrolls no loop up to it.

    A hardware prefetcher follows the addresses of one instruction, so a loop may beat its copies.
    """
    return Value(llvm.inline_asm(I64.mlir(), [constant(I64, number).mlir], "", "=r,0"), I64)
