"""Whether a torch op treats every token of a step alone.

The sequences of a step are concatenated, so what an op computes for one token must not depend on
another.  T is the only unknown size of a step: `?` in a type is the dimension of tokens, and each
rule below says how an op may treat it.  An op without a rule is refused.
"""

from collections.abc import Callable, Iterable
from math import prod

from ingot.ir import DYNAMIC, OpView, Value

from .constants import integer, integers, items, number
from .shapes import shape, torch_tensor

Rule = Callable[[OpView], str]
"""Returns why an op mixes tokens, or an empty text if it does not."""


def mixes_tokens(op: OpView) -> str:
    """Return why `op` does not treat every token alone; an empty text if it does."""
    name = op.operation.name
    if name == "torch.operator":
        return "is an opaque op"
    rule = _RULES.get(name.removeprefix("torch."))
    if rule is None:
        return "has no rule that says so"
    values = [*op.operation.operands, *op.operation.results]
    if any(shape(value).count(DYNAMIC) > 1 for value in values):
        return "relates tokens to tokens"
    return rule(op)


def _token_dim(value: Value) -> int | None:
    """Return the dimension of tokens, None where there is none."""
    sizes = shape(value)
    return sizes.index(DYNAMIC) if DYNAMIC in sizes else None


def _is_number(value: Value) -> bool:
    return str(value.type) in ("!torch.int", "!torch.float", "!torch.number")


def _tensors(values: Iterable[Value]) -> list[Value]:
    return [value for value in values if torch_tensor(value) is not None]


def _elementwise(op: OpView) -> str:
    """Operands must meet, aligned from the last dimension, with tokens upon tokens."""
    result = op.operation.results[0]
    dim = _token_dim(result)
    for operand in op.operation.operands:
        if _is_number(operand) and number(operand) is None:
            return "computes with the number of tokens"
        own = _token_dim(operand)
        if own is not None and (
            dim is None or own - len(shape(operand)) != dim - len(shape(result))
        ):
            return "combines different tokens"
    return ""


def _along(index: int) -> Rule:
    """Return the rule of an op that works along the dimensions its operand `index` names."""

    def rule(op: OpView) -> str:
        operands = list(op.operation.operands)
        named = integers(operands[index]) or [integer(operands[index])]
        results = op.operation.results if op.operation.name == "torch.aten.stack" else ()
        for value in _tensors([*items(operands[0]), *operands, *results]):
            dim = _token_dim(value)
            if dim is None:
                continue
            if any(one is None or one % len(shape(value)) == dim for one in named):
                return "works along the tokens"
        return ""

    return rule


def _moves(op: OpView) -> str:
    """Dimensions change places or are added: the tokens stay apart."""
    return ""


def _makes(op: OpView) -> str:
    """A tensor made of constants may hold any, but the same for every token."""
    if all(number(one) is not None or not _is_number(one) for one in op.operation.operands):
        return ""
    return "computes with the number of tokens"


def _counts(op: OpView) -> str:
    """A range of numbers must not run over the tokens."""
    return "numbers the tokens" if _token_dim(op.operation.results[0]) is not None else ""


def _reshape(op: OpView) -> str:
    """What stands before and after the tokens must keep its size."""
    before, after = shape(op.operation.operands[0]), shape(op.operation.results[0])
    if (DYNAMIC in before) != (DYNAMIC in after):
        return "folds the tokens into another dimension"
    if DYNAMIC in before:
        first, second = before.index(DYNAMIC), after.index(DYNAMIC)
        inner, outer = prod(before[first + 1 :]), prod(after[second + 1 :])
        if prod(before[:first]) != prod(after[:second]) or inner != outer:
            return "folds the tokens into another dimension"
    return ""


def _product(left: int, right: int) -> Rule:
    """Return the rule of a matrix product of operands `left` and `right`."""

    def rule(op: OpView) -> str:
        a, b = op.operation.operands[left], op.operation.operands[right]
        rows = max(len(shape(b)) - 2, 0)
        if _token_dim(a) == len(shape(a)) - 1 or _token_dim(b) == rows:
            return "sums over the tokens"
        return ""

    return rule


def _linear(op: OpView) -> str:
    x, w = list(op.operation.operands)[:2]
    if _token_dim(x) == len(shape(x)) - 1 or _token_dim(w) is not None:
        return "sums over the tokens"
    return ""


def _looks_up(op: OpView) -> str:
    table = op.operation.operands[0]
    return "" if _token_dim(table) is None else "looks tokens up among the tokens"


def _picks(op: OpView) -> str:
    """Elements picked along a dimension, from a table or within each token."""
    table, dim, index = list(op.operation.operands)[:3]
    own, along = _token_dim(table), integer(dim)
    if own is None:
        return ""
    if along is None or along % len(shape(table)) == own:
        return "works along the tokens"
    return "" if _token_dim(index) in (None, own) else "combines different tokens"


def _repeats(op: OpView) -> str:
    """Copies side by side: the tokens stay as many as they were."""
    x, counts = list(op.operation.operands)[:2]
    own, found = _token_dim(x), integers(counts)
    if own is None:
        return "" if None not in found else "computes with the number of tokens"
    return "" if found[own - len(shape(x))] == 1 else "repeats the tokens"


def _normalizes(op: OpView) -> str:
    x, sizes = list(op.operation.operands)[:2]
    dim = _token_dim(x)
    if dim is not None and dim >= len(shape(x)) - len(integers(sizes)):
        return "normalises over the tokens"
    return ""


_BINARY = "add sub mul div pow maximum minimum eq ne lt le gt ge remainder fmod".split()
_UNARY = """abs neg exp exp2 expm1 log log1p log2 sqrt rsqrt reciprocal square sin cos tan tanh
sigmoid silu gelu relu relu6 erf floor ceil round sign softplus elu leaky_relu hardtanh hardsigmoid
hardswish mish log_sigmoid clamp clamp.Tensor clamp_min clamp_max logical_and logical_or logical_not
logical_xor bitwise_not isnan isinf where.self where.ScalarOther where.ScalarSelf where.Scalar
masked_fill.Scalar masked_fill.Tensor pow.Scalar rsub.Scalar _to_copy to.dtype clone alias detach
contiguous type_as zeros_like ones_like full_like threshold lerp.Tensor lerp.Scalar
nan_to_num copy polar bitwise_and.Tensor bitwise_or.Tensor addcmul addcdiv maximum
minimum max.other min.other""".split()
_MOVES = """transpose.int permute unsqueeze squeeze squeeze.dim t numpy_T expand expand_as
broadcast_to view_as_complex view_as_real""".split()
_RESHAPES = "view reshape _unsafe_view flatten.using_ints unflatten.int".split()
_FILLS = "new_empty full zeros ones scalar_tensor new_full new_zeros new_ones".split()
_RANGES = "arange arange.start arange.start_step linspace".split()
_ALONG = {
    1: """softmax.int _softmax log_softmax.int _log_softmax cumsum cumprod sum.dim_IntList mean.dim
    amax amin argmax argmin max.dim min.dim sort slice.Tensor select.int flip cat stack
    narrow index_select scatter.value scatter.src scatter_add unbind.int std.dim var.dim any.dim
    all.dim prod.dim_int""".split(),
    2: """topk split.Tensor split_with_sizes chunk linalg_vector_norm norm.ScalarOpt_dim
    slice_scatter select_scatter tensor_split.sections repeat_interleave.self_int""".split(),
}


def _rules() -> dict[str, Rule]:
    kinds = [f"{name}.{other}" for name in _BINARY for other in ("Tensor", "Scalar")]
    kinds += [f"pow.Tensor_{other}" for other in ("Tensor", "Scalar")]
    rules: dict[str, Rule] = dict.fromkeys(kinds + _UNARY, _elementwise)
    rules |= dict.fromkeys(_MOVES, _moves) | dict.fromkeys(_RESHAPES, _reshape)
    for index, names in _ALONG.items():
        rules |= dict.fromkeys(names, _along(index))
    rules |= {"linear": _linear, "layer_norm": _normalizes, "native_layer_norm": _normalizes}
    rules |= {"rms_norm": _normalizes, "addmm": _product(1, 2), "embedding": _looks_up}
    rules |= {"index.Tensor": _looks_up, "gather": _picks, "repeat": _repeats}
    rules |= dict.fromkeys(("matmul", "mm", "bmm"), _product(0, 1))
    rules |= dict.fromkeys(_FILLS, _makes) | dict.fromkeys(_RANGES, _counts)
    own = {"prim.ListConstruct": _moves, "prim.ListUnpack": _moves}
    return {f"aten.{name}": rule for name, rule in rules.items()} | own


_RULES = _rules()
