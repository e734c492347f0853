"""The types on both sides of the bridge between builtin tensors and the torch dialect."""

import re

from .checks import require
from .mlir import DYNAMIC, IntegerType, RankedTensorType, Type
from .types import tensor_type

_VTENSOR = re.compile(r"!torch\.vtensor<\[([^\]]*)\],\s*([a-z0-9]+)>")


def torch_type(kind: Type) -> Type:
    """Return the `!torch.vtensor` for a builtin tensor; a leading `?` becomes `1,?`."""
    require(isinstance(kind, RankedTensorType), f"needs a plain tensor, found {kind}")
    shape = ["?" if size == DYNAMIC else str(size) for size in kind.shape]
    if shape and shape[0] == "?":
        shape = ["1", *shape]
    element = "si64" if str(kind.element_type) == "i32" else str(kind.element_type)
    return Type.parse(f"!torch.vtensor<[{','.join(shape)}],{element}>", kind.context)


def builtin_type(kind: Type) -> RankedTensorType:
    """Return the builtin tensor for a `!torch.vtensor`; the inverse of `torch_type`."""
    shape, element = vtensor_parts(kind)
    if shape[:2] == [1, DYNAMIC]:
        shape = shape[1:]
    if element == "si64":
        return tensor_type(shape, IntegerType.get_signless(32, kind.context))
    return tensor_type(shape, Type.parse(element, kind.context))


def vtensor_parts(kind: Type) -> tuple[list[int], str]:
    """Return the sizes (`DYNAMIC` for `?`) and the element type of a `!torch.vtensor`."""
    match = _VTENSOR.fullmatch(str(kind))
    require(match is not None, f"needs a ranked !torch.vtensor, found {kind}")
    assert match is not None
    sizes = [size.strip() for size in match[1].split(",") if size.strip()]
    return [DYNAMIC if size == "?" else int(size) for size in sizes], match[2]


def require_bridge(builtin_name: str, builtin: Type, torch_name: str, vtensor: Type) -> None:
    """Require that the two types are the two sides of one bridge."""
    shape, _ = vtensor_parts(vtensor)
    per_token = DYNAMIC not in shape or (shape[:2] == [1, DYNAMIC] and DYNAMIC not in shape[2:])
    require(
        per_token,
        f"needs {torch_name} without `?`, or `[1,?,...]` with the tokens second, found {vtensor}",
    )
    expected = torch_type(builtin)
    require(
        expected == vtensor,
        f"needs {torch_name} of {builtin_name}'s type {expected}, found {vtensor}",
    )
