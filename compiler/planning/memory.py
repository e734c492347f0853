"""How many bytes a device needs: weights, what sequences keep, and what is alive during a step."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import ceil, prod

from ingot.ir import Experts, Mesh, Op, Value, bytes_of, elements_of, encoding_of, shape_of

from .dividing import DIVIDED, kv_heads_held
from .sizes import weights_of
from .walking import Visit, name_of
from .work import ANCHORS, ATTENTION, kv_bytes

PAGE = 16
"""Tokens of a page of the KV cache on one device."""
RESULT_ROWS = 32
"""Rows of logits that a step which reads prompts has room for."""
FLOAT = 4


@dataclass(frozen=True)
class Memory:
    """Bytes of one device, the fullest one: what stays between steps, and the most beside it."""

    weights: float = 0.0
    kv: float = 0.0
    temporaries: float = 0.0

    @property
    def total(self) -> float:
        """All bytes."""
        return float(sum(astuple(self)))


def weight_memory(visits: Sequence[Visit], mesh: Mesh | None = None) -> float:
    """Return the bytes of the weights on the fullest device.

    `mesh` is that of an undivided module, whose weights then count as evenly divided; without it
    the operations are those of a device, each in its stage.
    """
    stages: defaultdict[int, dict[Value, float]] = defaultdict(dict)
    for visit in visits:
        for value in weights_of(visit.op):
            part = _part(visit.op, value, mesh) if mesh else 1.0
            stages[visit.stage][value] = stored_bytes(value) * part
    whole = max((sum(held.values()) for held in stages.values()), default=0.0)
    return whole / (mesh.size("pp") if mesh else 1)


def stored_bytes(value: Value) -> float:
    """Return the bytes of a weight: elements in their encoding, and scales of whole rows."""
    encoding = encoding_of(value)
    scales = 0.0
    if encoding is not None and not encoding.group:
        scales = prod(shape_of(value)[:-1]) * encoding.scale_bits / 8
    return bytes_of(value, 0) + scales


def _part(op: Op, value: Value, mesh: Mesh) -> float:
    """Return which part of a weight that `op` reads lies on a device."""
    if len(shape_of(value)) < 2:
        return 1.0
    if isinstance(op, Experts):
        return 1 / (mesh.size("tp") * mesh.size("ep"))
    return 1 / mesh.size("tp") if name_of(op) in DIVIDED else 1.0


def kv_memory(
    visits: Sequence[Visit], sequences: int, context: int, kv_dtype: str, mesh: Mesh, whole: bool
) -> float:
    """Return the bytes that `sequences` sequences of `context` tokens keep on the fullest device.

    `whole` says that the operations are those of an undivided module.
    """
    tokens = ceil(context / (PAGE * mesh.size("cp"))) * PAGE
    pools: dict[tuple[int, int], float] = {}
    states: defaultdict[int, float] = defaultdict(float)
    for visit in visits:
        op = visit.op
        if name_of(op) in ATTENTION:
            heads = int(op.kv_heads)
            held = kv_heads_held(op, mesh) / heads if whole else 1.0
            layer = int(op.layer)
            pools[visit.stage, layer] = kv_bytes(op, tokens, kv_dtype) * held
        for shape in op.states().values():
            states[visit.stage] += prod(shape) * 4 / (mesh.size("tp") if whole else 1)
    stages = {stage for stage, _ in pools} | set(states)
    most = max(
        (states[s] + sum(held for (stage, _), held in pools.items() if stage == s) for s in stages),
        default=0.0,
    )
    return sequences * most / (mesh.size("pp") if whole else 1)


def temporary_memory(visits: Sequence[Visit]) -> float:
    """Return the most bytes of values that are alive at once, results that are fused left out.

    A row-wise result with one reader is made where that reads it, so what it is made of lives on
    until then.
    """
    ends: dict[Value, int] = {}
    for index, visit in reversed(list(enumerate(visits))):
        results = list(visit.op.results)
        kept = any(map(_is_kept, results))
        end = index if kept else max((ends.get(value, index) for value in results), default=index)
        ends.update({value: max(end, ends.get(value, 0)) for value in visit.op.operands})
    alive, most, freed = 0.0, 0.0, defaultdict[int, float](float)
    for index, visit in enumerate(visits):
        for value in filter(_is_kept, visit.op.results):
            size = bytes_of(value, visit.rows)
            alive += size
            freed[ends.get(value, index)] += size
        most = max(most, alive)
        alive -= freed.pop(index, 0.0)
    return most


def result_memory(vocabulary: int, sequences: int) -> float:
    """Return the bytes of the logits of the larger of a plan's steps."""
    return FLOAT * vocabulary * max(sequences, RESULT_ROWS)


def _is_kept(value: Value) -> bool:
    """Return whether a value lies in memory: a product does, and what is read more than once.

    So do all results of an operation that has several, as a sum beside what is made of it.
    """
    owner = value.owner
    anchor = isinstance(owner, Op) and (
        name_of(owner) in (*ANCHORS, *ATTENTION)
        or owner.collective
        or bool(owner.states())
        or len(owner.results) > 1
    )
    return bool(elements_of(value, 1)) and (anchor or len(list(value.uses)) > 1)
