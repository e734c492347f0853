"""Finds the operation at which two modules part: values at one place in the model are compared.

Both run on one sample.  A value of the second module is compared with those values of the first
that are located at the same place of the model and have as many features; where there are several,
the last belongs to the last.  Heads and batch dimensions are flattened: `[1, H, T, D]` of torch and
`[T, H x D]` of `lm` are the same value.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ingot.ir import (
    DYNAMIC,
    Module,
    Op,
    OpResult,
    OpView,
    Quant,
    QuantTensor,
    RankedTensorType,
    Source,
    Type,
    Value,
    func,
    shape_of,
    sources_of,
    vtensor_parts,
)

from .contract import relative_error
from .sample import Sample, Weights


@dataclass
class Recorded:
    """One result of one operation: its values, one a step, each `[rows, features]` in float64.

    `reads` are the numbers of the results that it is made from; `leaves` whether its function
    returns it, `needed` whether what is returned depends on it.
    """

    number: int
    operation: str
    result: str
    sources: tuple[Source, ...]
    features: int
    reads: tuple[int, ...]
    leaves: bool
    values: list[Tensor] = field(default_factory=list)
    needed: bool = False

    @property
    def place(self) -> Source:
        """The place in the model that it stands for."""
        return self.sources[0] if self.sources else Source("")


@dataclass(frozen=True)
class Difference:
    """How far a result lies from the reference: relative, in the metric asked for.

    `inherited` is the largest error among what it is made from.
    """

    found: Recorded
    reference: Recorded
    error: float
    inherited: float
    truly: bool
    """Whether everything on some way from here to the end departs too."""

    @property
    def added(self) -> float:
        """The error that was not there before this operation."""
        return self.error - self.inherited

    def __str__(self) -> str:
        return f"{self.found.operation}, {self.found.place}"


@dataclass(frozen=True)
class Recording:
    """What running a sample gave: every recorded value, in order, and the logits.

    The logits are those of `Sample.logits`.
    """

    values: list[Recorded]
    logits: Tensor


class Recorder:
    """Keeps the float values that have a row for each token, while a module runs."""

    def __init__(self, sample: Sample) -> None:
        self._steps = len(list(sample.steps))
        self._numbers: dict[Value, int] = {}
        self._hidden: dict[Value, tuple[int, ...]] = {}
        self.results: list[Recorded] = []

    def watch(self, op: OpView, results: Sequence[Any]) -> None:
        """See one operation and its results; to be given to the interpreter."""
        reads = tuple(dict.fromkeys(n for operand in op.operands for n in self._made_by(operand)))
        for index, (value, datum) in enumerate(zip(op.results, results, strict=True)):
            rows = rows_of(datum, value.type)
            if rows is None:
                self._hidden[value] = reads
                continue
            if value not in self._numbers:
                self._numbers[value] = len(self.results)
                self.results.append(_recorded(len(self.results), op, index, rows, reads))
            self.results[self._numbers[value]].values.append(rows)

    def _made_by(self, value: Value) -> tuple[int, ...]:
        number = self._numbers.get(value)
        return self._hidden.get(value, ()) if number is None else (number,)


def record(module: Module, weights: Weights, sample: Sample) -> Recording:
    """Run the sample once, and return its values and its logits."""
    recorder = Recorder(sample)
    logits = sample.logits(module, weights, recorder.watch)
    for one in reversed(recorder.results):
        one.needed |= one.leaves
        if one.needed:
            for number in one.reads:
                recorder.results[number].needed = True
    return Recording(recorder.results, logits)


def rows_of(datum: Any, kind: Type) -> Tensor | None:
    """Return a value as float64 `[rows, features]`; None for what has no row for each token."""
    if isinstance(datum, QuantTensor):
        return datum.dequantize(torch.float64) if datum.encoding.activation else None
    if not isinstance(datum, Tensor) or not datum.is_floating_point():
        return None
    if isinstance(kind, Quant | RankedTensorType):
        sizes = shape_of(kind)
    elif str(kind).startswith("!torch.vtensor<["):
        sizes = vtensor_parts(kind)[0]
    else:
        return None
    if sizes.count(DYNAMIC) != 1 or len(sizes) != datum.dim():
        return None
    rows = datum.movedim(sizes.index(DYNAMIC), 0)
    return rows.reshape(len(rows), -1).to(torch.float64)


def compare(
    reference: Sequence[Recorded],
    found: Sequence[Recorded],
    sample: Sample,
    *,
    metric: str = "largest",
    tolerance: float = 0.0,
) -> list[Difference]:
    """Return the difference of every value of `found` that has a counterpart, in order."""
    pairs = _pairs(reference, found)
    errors = {
        number: _error(reference[pairs[number]], found[number], sample, metric) for number in pairs
    }
    known = {number: error for number, error in errors.items() if error is not None}
    inherited = _inherited(found, known)
    truly = _truly(found, known, tolerance)
    return [
        Difference(
            found[number],
            reference[pairs[number]],
            error,
            inherited[number],
            number in truly and not error <= tolerance,
        )
        for number, error in known.items()
    ]


def first_divergence(differences: Sequence[Difference], tolerance: float) -> Difference | None:
    """Return the operation to look at: the first whose value departs beyond `tolerance` for good.

    Where errors only add up, it is the one that adds the most; None where nothing differs.
    """
    for one in differences:
        if one.truly and not one.error <= tolerance:
            return one
    return max(
        (one for one in differences if one.added > 0), key=lambda one: one.added, default=None
    )


def _recorded(
    number: int, op: OpView, index: int, rows: Tensor, reads: tuple[int, ...]
) -> Recorded:
    value = op.results[index]
    names = [n for n, kind in type(op).__annotations__.items() if kind is OpResult]
    is_lm = isinstance(op, Op) and len(names) == len(op.results)
    leaves = any(isinstance(use.owner, func.ReturnOp) for use in value.uses)
    return Recorded(
        number,
        str(op.operation.name),
        names[index] if is_lm else str(index),
        sources_of(op.location),
        rows.shape[1],
        reads,
        leaves,
    )


def _pairs(reference: Sequence[Recorded], found: Sequence[Recorded]) -> dict[int, int]:
    """Return for the number of each value that has one the number of its counterpart."""
    places: dict[tuple[Source, int], list[int]] = {}
    for one in reference:
        for source in one.sources if one.needed else ():
            places.setdefault((source, one.features), []).append(one.number)
    peers: dict[tuple[tuple[Source, ...], int], list[int]] = {}
    for one in filter(lambda one: one.needed, found):
        peers.setdefault((one.sources, one.features), []).append(one.number)
    pairs: dict[int, int] = {}
    for (sources, features), numbers in peers.items():
        candidates = sorted({n for s in sources for n in places.get((s, features), ())})
        pairs.update(zip(reversed(numbers), reversed(candidates), strict=False))
    return dict(sorted(pairs.items()))


def _error(reference: Recorded, found: Recorded, sample: Sample, metric: str) -> float | None:
    """Return the relative error over all steps, None where the values do not have the same rows."""
    expected, actual = [], []
    for step, before, after in zip(sample.steps, reference.values, found.values, strict=False):
        if len(before) != len(after):
            before, after = step.wanted(before), step.wanted(after)
        if before.shape != after.shape:
            return None
        expected.append(before)
        actual.append(after)
    if not expected:
        return None
    return relative_error(torch.cat(expected), torch.cat(actual), metric)


def _inherited(found: Sequence[Recorded], errors: dict[int, float]) -> dict[int, float]:
    """Return the largest error among the operands, through those that have no counterpart."""
    inherited: dict[int, float] = {}
    for one in found:
        known = (errors.get(number, inherited[number]) for number in one.reads)
        inherited[one.number] = max(known, default=0.0)
    return inherited


def _truly(found: Sequence[Recorded], errors: dict[int, float], tolerance: float) -> set[int]:
    """Return what departs, or cannot be compared, on some way to the end of a function."""
    readers: dict[int, list[int]] = {}
    for one in found:
        for number in one.reads:
            readers.setdefault(number, []).append(one.number)
    truly: set[int] = set()
    for one in reversed(found):
        departs = one.number not in errors or not errors[one.number] <= tolerance
        reaches = one.leaves or any(reader in truly for reader in readers.get(one.number, ()))
        if departs and reaches:
            truly.add(one.number)
    return truly
