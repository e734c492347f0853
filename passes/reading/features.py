"""Reads a torch tensor as `[T, features]`, whatever splits, joins, repeats or rotates its heads."""

from ingot.ir import Value, torch_dialect
from ingot.passes.bridging import arrangement, heads, regrouped, torch_tensor

from .arranging import arranged
from .evaluating import evaluate
from .forms import PLAIN, POSITION, SPAN
from .rotating import rotated


def features(value: Value) -> Value | None:
    """Return the `tensor<?xFxf32>` that the torch tensor `value` holds, in whatever arrangement.

    Slices and arrangements of heads become ops of `lm`; what else made the tensor stays in torch.
    None where the tensor is not arranged in a known way or is not float32.
    """
    return _read(value, rotates=False) or regrouped(value)


def rotation(value: Value) -> Value | None:
    """Return the `tensor<?xFxf32>` that `value` holds where parts of its heads are rotated."""
    return _read(value, rotates=True)


def repeated_indices(value: Value) -> Value | None:
    """Return the `tensor<?xi32>` of which all elements of `value` are, one for each token."""
    found = evaluate(value)
    if found is None or found[0].imaginary is not None or found[0].present[..., 1:].any():
        return None
    form, sources = found
    plain = form.waves() == {POSITION} and (form.coefficient[..., 0] == 1).all()
    return sources.positions if plain else None


def turns(value: Value) -> bool:
    """Return whether `value` is or contains a function of positions: cos, sin, features turned."""
    found = evaluate(value)
    return found is not None and not found[0].waves() <= {PLAIN}


def readers(value: Value) -> list[Value]:
    """Return the tensors that are made directly of `value`, or of a list that it is in."""
    found: list[Value] = []
    for use in value.uses:
        results = list(use.owner.operation.results)
        is_list = isinstance(use.owner, torch_dialect.PrimListConstructOp)
        found += readers(results[0]) if is_list else results
    return found


def is_turned(value: Value) -> bool:
    """Return whether what is made of `value`, directly or by one op between, turns."""
    made = readers(value)
    return any(map(turns, [*made, *(second for one in made for second in readers(one))]))


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
