"""Crosses between the torch dialect and `lm`: from any arrangement of heads to `[T, F]` and back.

Reshapes and transposes that only regroup heads carry no arithmetic.  `regrouped` walks back through
them to the `lm` value below, or puts the regrouping into torch ops where there is none; `as_torch`
goes the other way.  Whatever of this is not needed in the end is unused and erased.
"""

from math import prod

from ingot.ir import (
    DYNAMIC,
    Convert,
    FromTorch,
    IntegerAttr,
    IntegerType,
    ToTorch,
    Type,
    Value,
    is_per_token,
    torch_dialect,
)

from .shapes import Arrangement, TorchTensor, arrangement, shape, torch_tensor

_SAME = (
    torch_dialect.AtenAliasOp
    | torch_dialect.AtenCloneOp
    | torch_dialect.AtenContiguousOp
    | torch_dialect.AtenDetachOp
    | torch_dialect.Aten_ToCopyOp
    | torch_dialect.AtenToDtypeOp
    | torch_dialect.AtenTypeAsOp
)
_RESHAPES = torch_dialect.AtenViewOp | torch_dialect.Aten_UnsafeViewOp | torch_dialect.AtenReshapeOp
_TOKENS_FIRST = (Arrangement.FEATURES, Arrangement.HEADS)
_TOKENS_LATER = (Arrangement.HEADS_FIRST, Arrangement.FEATURES_FIRST)
_SWAPPED = (
    {Arrangement.HEADS, Arrangement.HEADS_FIRST},
    {Arrangement.FEATURES, Arrangement.FEATURES_FIRST},
)
"""Arrangements between which exchanging dimensions 1 and 2 leads."""


def same(value: Value) -> Value:
    """Return `value` before ops that copy it as it is: clones, aliases, casts to its own type."""
    while isinstance(value.owner, _SAME) and value.owner.operands[0].type == value.type:
        value = value.owner.operands[0]
    if isinstance(value.owner, _RESHAPES) and value.owner.operands[0].type == value.type:
        return same(value.owner.operands[0])
    return value


def _below(value: Value) -> Value | None:
    """Return what `value` regroups the heads of, None if it does not."""
    owner = value.owner
    if isinstance(owner, _RESHAPES):
        pair = (shape(owner.operands[0]), shape(value))
        known = all(arrangement(sizes) in _TOKENS_FIRST for sizes in pair)
        # Else heads are folded into the tokens.
        keeps_width = prod(pair[0]) == prod(pair[1])
        return owner.operands[0] if known and keeps_width else None
    if isinstance(owner, torch_dialect.AtenTransposeIntOp):
        kinds = (arrangement(shape(owner.operands[0])), arrangement(shape(value)))
        return owner.operands[0] if set(kinds) in _SWAPPED else None
    return None


def peel(value: Value) -> Value:
    """Return the value below all copies and regroupings of heads."""
    while True:
        below = _below(same(value))
        if below is None:
            return same(value)
        value = below


def regrouped(value: Value) -> Value | None:
    """Return the `tensor<?xFxf32>` that the torch tensor `value` holds, its heads regrouped.

    None where the tensor is not arranged in a known way or is not float32.
    """
    base = peel(value)
    tensor = torch_tensor(base)
    if tensor is None or tensor.element != "f32" or arrangement(tensor.shape) is None:
        return None
    bridge = base.owner
    if isinstance(bridge, ToTorch) and is_per_token(bridge.x):
        return bridge.x
    if arrangement(tensor.shape) in _TOKENS_LATER:
        base = transposed(base)
    sizes = shape(base)
    if len(sizes) != 3:
        width = sizes[-1] if len(sizes) == 2 else sizes[2] * sizes[3]
        base = viewed(base, (1, DYNAMIC, width))
    return FromTorch(base).out


def as_torch(value: Value, kind: Type) -> Value:
    """Return the activation `value` as a torch tensor of type `kind`, rearranged."""
    wanted = torch_tensor(kind)
    assert wanted is not None, kind
    bridged = ToTorch(value).out
    if arrangement(wanted.shape) in _TOKENS_LATER:
        one, second, tokens, *last = wanted.shape
        return transposed(viewed(bridged, (one, tokens, second, *last)))
    return bridged if bridged.type == kind else viewed(bridged, wanted.shape)


def weight(value: Value) -> Value | None:
    """Return the weight, as stored, that the torch tensor `value` is; None if it is none.

    A conversion to float32 is left out: every op of `lm` computes in float32 whatever it reads.
    """
    bridge = same(value).owner
    if not isinstance(bridge, ToTorch) or is_per_token(bridge.x):
        return None
    found = bridge.x
    while isinstance(found.owner, Convert) and str(found.type.element_type) == "f32":
        found = found.owner.w
    return found


def indices(value: Value) -> Value | None:
    """Return the `tensor<?xi32>` of tokens or positions that `value` is in torch."""
    base = same(value)
    bridge = base.owner
    return bridge.x if isinstance(bridge, ToTorch) and is_per_token(bridge.x) else None


def viewed(value: Value, sizes: tuple[int, ...]) -> Value:
    """Return `value` reshaped by a torch op; at most one of `sizes` is `DYNAMIC`."""
    tensor = torch_tensor(value)
    assert tensor is not None and sizes.count(DYNAMIC) <= 1
    context = value.context
    constants = [constant(-1 if size == DYNAMIC else size, value) for size in sizes]
    list_type = Type.parse("!torch.list<int>", context)
    size_list = torch_dialect.PrimListConstructOp(list_type, constants).result
    target = TorchTensor(sizes, tensor.element).type(context)
    return torch_dialect.AtenReshapeOp(target, value, size_list).result


def transposed(value: Value) -> Value:
    """Return `[1, A, B, …]` as `[1, B, A, …]`, by a torch op."""
    tensor = torch_tensor(value)
    assert tensor is not None and len(tensor.shape) > 2
    one, second, third, *last = tensor.shape
    target = TorchTensor((one, third, second, *last), tensor.element).type(value.context)
    dims = (constant(1, value), constant(2, value))
    return torch_dialect.AtenTransposeIntOp(target, value, *dims).result


def constant(number: int, near: Value) -> Value:
    """Return the torch integer `number`; `near` is any value of the module."""
    attribute = IntegerAttr.get(IntegerType.get_signless(64, near.context), number)
    return torch_dialect.ConstantIntOp(attribute).result
