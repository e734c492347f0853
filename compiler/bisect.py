"""Finds where two modules part, and which weights cost the most: artifact, module or checkpoint."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ingot.errors import UsageError
from ingot.ir import (
    Module,
    Op,
    Quantize,
    QuantTensor,
    Slice,
    Value,
    is_weight_expression,
    source_of,
    weight_symbols,
)
from ingot.models import import_model, open_checkpoint
from ingot.passes import (
    Difference,
    Sample,
    compare,
    first_divergence,
    parse_pipeline,
    random_sample,
    random_weights,
    record,
    relative_error,
    vocabulary_of,
)
from ingot.runtime.artifact import Artifact
from ingot.runtime.artifact_format import CPU_PLAN, GRAPH, MANIFEST

from .module_source import read_module_source
from .native_logits import native_logits

Weights = Mapping[str, Tensor | QuantTensor]
RAISED = "raise,canonicalize"


@dataclass(frozen=True)
class Side:
    """One of the two that are compared; `weights` are None where it brings none of its own."""

    name: str
    module: Module
    weights: Weights | None = None
    artifact: Artifact | None = None


@dataclass(frozen=True)
class WeightEffect:
    """What one encoded weight costs: the error of the logits with it as floats, and the gain."""

    symbols: tuple[str, ...]
    operation: str
    module: str
    error_without: float
    gain: float


@dataclass(frozen=True)
class Bisection:
    """The result: differences in order, the culprit, the logits' error, the costliest weights.

    `native` is the error of the native executor's logits against those of the interpreter, None
    where the first side is no artifact for this machine.
    """

    differences: tuple[Difference, ...]
    culprit: Difference | None
    logits: float
    tolerance: float
    effects: tuple[WeightEffect, ...]
    native: float | None

    @property
    def diverges(self) -> bool:
        """Whether the logits, those of the native executor too, differ beyond the tolerance."""
        errors = [self.logits, *([] if self.native is None else [self.native])]
        return not all(error <= self.tolerance for error in errors)


def open_side(path: str | Path) -> Side:
    """Open an artifact, a checkpoint (imported and raised), or a module as text or bytecode.

    `-` is a module on standard input.  Raises `UsageError` for what is none of these.
    """
    path = Path(path)
    if (path / MANIFEST).is_file():
        artifact = Artifact.open(path)
        where = f"{path}/{GRAPH}"
        return Side(str(path), Module.parse(artifact.read_bytes(GRAPH), where), artifact=artifact)
    if path.is_dir() or path.suffix == ".gguf":
        checkpoint = open_checkpoint(path)
        module = import_model(checkpoint)
        parse_pipeline(RAISED).run(module)
        return Side(str(path), module, checkpoint.weights)
    where, source = read_module_source(
        str(path), "Give an artifact, a checkpoint, or a file of the IR."
    )
    return Side(where, Module.parse(source, where))


def common_weights(found: Side, reference: Side, checkpoint: str | None) -> Weights:
    """Return the weights of both: those of a checkpoint that is given or a side, or random ones."""
    if checkpoint is not None:
        return open_checkpoint(checkpoint).weights
    for side in (reference, found):
        if side.weights is not None:
            return side.weights
    if found.artifact is not None or reference.artifact is not None:
        raise UsageError(
            "an artifact holds its weights packed, and its graph names those of the checkpoint",
            where=found.name if found.artifact else reference.name,
            hint="Give the checkpoint that it was compiled from with --weights.",
        )
    return random_weights(reference.module) | random_weights(found.module)


def bisect(
    found: Side,
    reference: Side,
    weights: Weights,
    *,
    tolerance: float,
    metric: str = "rms",
    rank: int = 0,
    seed: int = 0,
) -> Bisection:
    """Run both in the interpreter on one sample and compare their values, place by place.

    The `rank` weights whose operations add the most error are replaced by their float versions, one
    at a time.
    """
    sample = random_sample(vocabulary_of(reference.module), seed=seed)
    expected, actual = (record(side.module, weights, sample) for side in (reference, found))
    differences = compare(
        expected.values, actual.values, sample, metric=metric, tolerance=tolerance
    )
    error = relative_error(expected.logits, actual.logits, metric)
    ranked = _ranked(found.module, differences)[:rank]
    effects = [
        _effect(op, value, found.module, weights, sample, expected.logits, metric)
        for op, value in ranked
    ]
    return Bisection(
        tuple(differences),
        first_divergence(differences, tolerance),
        error,
        tolerance,
        tuple(
            WeightEffect(symbols, op, module, without, error - without)
            for symbols, op, module, without in sorted(effects, key=lambda one: one[3])
        ),
        _native_error(found, sample, actual.logits, metric),
    )


def _ranked(module: Module, differences: list[Difference]) -> list[tuple[Op, Value]]:
    """Return the operations that read encoded weights, those whose places add the most first."""
    added: dict[str, float] = {}
    for one in differences:
        place = one.found.place.module
        added[place] = max(added.get(place, 0.0), one.added)
    found = [
        (op, operand)
        for function in module.functions
        for op in function.entry_block.operations
        if isinstance(op, Op) and not all(map(is_weight_expression, op.results))
        for operand in op.operands
        if is_weight_expression(operand) and any(_quantised(operand))
    ]
    return sorted(found, key=lambda pair: -max(added.get(s, 0.0) for s in _places(pair[0])))


def _places(op: Op) -> list[str]:
    """Return the module that `op` stands for, and those of its readers that only cut it up."""
    readers = [use.owner for value in op.results for use in value.uses]
    cuts = [reader for reader in readers if isinstance(reader, Slice)]
    return [source_of(one.location).module for one in (op, *cuts)]


def _quantised(value: Value) -> Iterator[bool]:
    """Give whether each operation of a weight expression encodes."""
    owner = value.owner
    yield isinstance(owner, Quantize)
    for operand in owner.operands:
        yield from _quantised(operand)


def _effect(
    op: Op,
    value: Value,
    module: Module,
    weights: Weights,
    sample: Sample,
    expected: Tensor,
    metric: str,
) -> tuple[tuple[str, ...], str, str, float]:
    """Return the weight, its operation and place, and the logits' error with it as floats."""
    logits = sample.logits(module, weights, unencoded=[value])
    error = relative_error(expected, logits, metric)
    names = tuple(weight_symbols(value))
    return names, str(op.operation.name), source_of(op.location).module, error


def _native_error(found: Side, sample: Sample, expected: Tensor, metric: str) -> float | None:
    """Return how far the native executor lies from the interpreter's logits of the artifact."""
    if found.artifact is None or CPU_PLAN not in found.artifact.files:
        return None
    native = native_logits(found.artifact, sample)
    return None if native is None else relative_error(expected, native, metric)
