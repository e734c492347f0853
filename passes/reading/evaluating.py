"""Evaluates torch ops on forms: which features, turned by which angles, a tensor holds."""

import numpy as np

from ingot.ir import DYNAMIC, OpView, ToTorch, Value, torch_dialect
from ingot.passes.bridging import arrangement, indices, mixes_tokens, shape, torch_tensor, weight

from .forms import (
    Form,
    Sources,
    feature_form,
    frequency_form,
    position_form,
)
from .joining_rules import JOINING_RULES
from .moving import MOVES, SPLITS, part_of, sizes_of
from .wave_rules import WAVE_RULES

_DEEPEST = 40
_RULES = {**WAVE_RULES, **JOINING_RULES}


def evaluate(value: Value) -> tuple[Form, Sources] | None:
    """Return the form of `value` and what it refers to, None where it is not of that kind.

    Ops that compute something else make new features, provided that their result is float32 and
    arranged in a known way.
    """
    sources = Sources()
    form = _Evaluation(sources).form(value, _DEEPEST)
    return None if form is None else (form, sources)


class _Evaluation:
    """Walks from a tensor back to what it is made of; a tensor met twice is evaluated once."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._known: dict[Value, Form | None] = {}

    def form(self, value: Value, depth: int) -> Form | None:
        """Return the form of `value`, None if it has none."""
        if value not in self._known:
            self._known[value] = self._inside(value, depth) or self._leaf(value)
        return self._known[value]

    def _inside(self, value: Value, depth: int) -> Form | None:
        op = value.owner
        if not isinstance(op, OpView) or isinstance(op, ToTorch) or depth == 0:
            return None
        if isinstance(op, torch_dialect.PrimListUnpackOp):
            return self._part(op, value, depth)
        name = op.operation.name
        if name in MOVES:
            return None if mixes_tokens(op) else self._moved(op, depth)
        rule = _RULES.get(name)
        return None if rule is None or mixes_tokens(op) else rule(self.form, op, depth)

    def _moved(self, op: OpView, depth: int) -> Form | None:
        x = self.form(op.operation.operands[0], depth - 1)
        if x is None or not _keeps_type(op):
            return None
        move = MOVES[op.operation.name]
        places = move(op, np.arange(np.prod(x.sizes, dtype=np.int64)).reshape(x.sizes))
        return None if places is None else x.moved(lambda _: places)

    def _part(self, op: OpView, value: Value, depth: int) -> Form | None:
        split = op.operation.operands[0].owner
        if not isinstance(split, OpView) or split.operation.name not in SPLITS:
            return None
        x = None if mixes_tokens(split) else self.form(split.operation.operands[0], depth - 1)
        if x is None:
            return None
        places = part_of(split, value, np.arange(np.prod(x.sizes, dtype=np.int64)).reshape(x.sizes))
        return None if places is None else x.moved(lambda _: places)

    def _leaf(self, value: Value) -> Form | None:
        tensor = torch_tensor(value)
        if tensor is None:
            return None
        if tensor.element == "si64":
            return self._positions(value)
        if tensor.element != "f32":
            return None
        if DYNAMIC not in tensor.shape:
            return self._frequencies(value)
        if arrangement(tensor.shape) is None:
            return None
        self.sources.tensors.append(value)
        return feature_form(sizes_of(value), len(self.sources.tensors) - 1)

    def _positions(self, value: Value) -> Form | None:
        found = indices(value)
        if found is None or not _is_free(self.sources.positions, found):
            return None
        self.sources.positions = found
        return position_form(sizes_of(value))

    def _frequencies(self, value: Value) -> Form | None:
        found = weight(value)
        if found is None or not _is_free(self.sources.frequencies, found):
            return None
        if len(shape(value)) != 1:
            return None
        self.sources.frequencies = found
        return frequency_form(shape(value)[0])


def _is_free(known: Value | None, found: Value) -> bool:
    """Return whether `known` is not yet set, or is `found`."""
    return known is None or known == found


def _keeps_type(op: OpView) -> bool:
    """Return whether elements stay what they are: positions may become floats."""
    before, after = torch_tensor(op.operation.operands[0]), torch_tensor(op.operation.results[0])
    assert before is not None and after is not None
    return before.element == after.element or (before.element, after.element) == ("si64", "f32")
