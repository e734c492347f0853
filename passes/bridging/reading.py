"""Reads a torch tensor as `[T, features]`, whatever splits, joins, repeats or rotates its heads."""

from ingot.ir import Value

from .arranging import arranged
from .crossing import regrouped
from .evaluating import evaluate
from .forms import PLAIN, SPAN
from .rotating import rotated
from .shapes import arrangement, heads, torch_tensor


def features(value: Value) -> Value | None:
    """Return the `tensor<?xFxf32>` that the torch tensor `value` holds, in whatever arrangement.

    Slices and arrangements of heads become ops of `lm`; what else made the tensor stays in torch.
    None where the tensor is not arranged in a known way or is not float32.
    """
    return _read(value, rotates=False) or regrouped(value)


def rotation(value: Value) -> Value | None:
    """Return the `tensor<?xFxf32>` that `value` holds where parts of its heads are rotated."""
    return _read(value, rotates=True)


def turns(value: Value) -> bool:
    """Return whether `value` is or contains a function of positions: cos, sin, features turned."""
    found = evaluate(value)
    return found is not None and not found[0].waves() <= {PLAIN}


def _read(value: Value, *, rotates: bool) -> Value | None:
    """Return `value` as ops of `lm` on the tensors that it moves, or moves and turns."""
    tensor = torch_tensor(value)
    if tensor is None or tensor.element != "f32" or arrangement(tensor.shape) is None:
        return None
    found = evaluate(value)
    if found is None or found[0].imaginary is not None:
        return None
    form, sources = found
    used = set((form.feature[form.present] // SPAN).tolist())
    if min(used, default=-1) < 0 or rotates == (form.waves() <= {PLAIN}):
        return None
    tensors: list[Value] = []
    for number, source in enumerate(sources.tensors):
        rows = regrouped(source) if number in used else source
        if rows is None:
            return None
        tensors.append(rows)
    if rotates:
        return rotated(form, (heads(value) or (1, 0))[0], sources, tensors)
    whole = (form.coefficient[..., 0] == 1).all() and not form.present[..., 1:].any()
    return arranged(form.feature[..., 0].reshape(-1), tensors) if whole else None
