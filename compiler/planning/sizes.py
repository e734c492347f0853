"""The sizes of a model that say which meshes can divide it."""

from collections.abc import Iterator
from dataclasses import dataclass

from ingot.ir import Experts, Module, Op, Value, columns_of, is_weight_expression

from .walking import Step, name_of, visits
from .work import ATTENTION


@dataclass(frozen=True)
class Sizes:
    """What the operations of an undivided module say; sets, where layers differ.

    `layers` counts what looks back at earlier tokens: attention, convolutions, scans.
    """

    hidden: int
    layers: int
    heads: frozenset[int]
    kv_heads: frozenset[int]
    experts: frozenset[int]
    vocabulary: int

    @classmethod
    def of(cls, module: Module) -> "Sizes":
        """Read the sizes of a module in `lm`."""
        ops = [visit.op for visit in visits(module, Step.prefill(1))]
        attentions = [op for op in ops if name_of(op) in ATTENTION]
        embeddings = [op for op in ops if name_of(op) == "embedding"]
        numbers = {int(op.layer) for op in ops if hasattr(op, "layer")}
        return cls(
            hidden=max((columns_of(op.results[0]) for op in embeddings), default=0),
            layers=len(numbers),
            heads=frozenset(int(op.heads) for op in attentions),
            kv_heads=frozenset(int(op.kv_heads) for op in attentions),
            experts=frozenset(op.experts for op in ops if isinstance(op, Experts)),
            vocabulary=columns_of(module.step.type.results[0]),
        )


def weights_of(op: Op) -> Iterator[Value]:
    """Return the weights that an operation reads, once each."""
    yield from dict.fromkeys(value for value in op.operands if is_weight_expression(value))
