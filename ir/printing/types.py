"""Types as a person writes them: `[T, 576]`, `int4-g32 [1536, 576]`, `i32 [T]`.

float32 goes without saying; `T` is the number of tokens in the step, `R` that of the rows whose
logits are wanted.
"""

from ingot.ir.bridge import vtensor_parts
from ingot.ir.dialect import BatchType
from ingot.ir.mlir import DYNAMIC, RankedTensorType, Type
from ingot.ir.types import encoding_of, logical_type, type_of

TOKENS, ROWS = "T", "R"


def format_type(kind: Type, rows: str = TOKENS) -> str:
    """Return the short form of a type; `rows` stands for a size that is not known."""
    if isinstance(kind, BatchType):
        return "batch"
    if isinstance(kind, RankedTensorType):
        return _tensor(str(kind.element_type), list(kind.shape), rows)
    encoding = encoding_of(kind)
    if encoding is not None:
        return _tensor(str(encoding), list(logical_type(kind).shape), rows)
    if str(type_of(kind)).startswith("!torch.vtensor<["):
        sizes, element = vtensor_parts(kind)
        return _tensor(element, sizes, rows)
    return str(kind)


def _tensor(element: str, sizes: list[int], rows: str) -> str:
    shape = ", ".join(rows if size == DYNAMIC else str(size) for size in sizes)
    return f"[{shape}]" if element == "f32" else f"{element} [{shape}]"
