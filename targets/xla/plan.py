"""The plan of a program in StableHLO: all that the runtime needs to know, as data.

It is written once a compile and read by the runtime; the dataclasses are its schema.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .lowering import CacheShape, KvPool, Parameter, StepShape
from .lowering.program import ITEM_BITS, Floats
from .platform import Platform

VERSION = 1


@dataclass(frozen=True)
class Limits:
    """What a step may hold.

    `page_tokens` are tokens of a page over all devices that share it, `num_pages` the pages of all
    data groups together.  `context` is the most tokens of a sequence.
    """

    vocab_size: int
    max_positions: int
    page_tokens: int
    num_pages: int
    context: int
    row_width: int = 0
    token_types: int = 0


@dataclass(frozen=True)
class PlannedStage:
    """The program of one pipeline stage: the names of its files, an empty one where there is none.

    `program` is portable StableHLO, `executable` what the compiler of the plan's build made of it.
    """

    program: str
    executable: str = ""


@dataclass(frozen=True)
class Step:
    """One size of a step, and its stages in order."""

    shape: StepShape
    stages: tuple[PlannedStage, ...]


@dataclass(frozen=True)
class Plan:
    """A lowered module.  `cache` is the KV cache of one device, `build` the compiler's."""

    platform: Platform
    mesh: str
    build: str
    limits: Limits
    cache: CacheShape
    pools: tuple[KvPool, ...]
    parameters: tuple[Parameter, ...]
    steps: tuple[Step, ...]

    def text(self) -> str:
        """Return the plan as JSON, a line for each pool, parameter and step."""
        document = {
            "version": VERSION,
            "platform": self.platform.name,
            "topology": self.platform.topology,
            "mesh": self.mesh,
            "compiler": {"build": self.build},
            "limits": asdict(self.limits),
            "kv_cache": {
                "dtype": self.cache.dtype,
                "layers": [_pool(pool, self.cache) for pool in self.pools],
            },
            "parameters": [_parameter(one) for one in self.parameters],
            "steps": [_step(step) for step in self.steps],
        }
        return _lines(document)


def page_bytes(pool: KvPool, page_tokens: int, dtype: Floats) -> int:
    """Return what a page of `page_tokens` tokens takes of an array on one device."""
    _, tokens, heads, size = pool.shape(CacheShape(1, page_tokens, dtype))
    return len(pool.layers) * tokens * heads * size * ITEM_BITS[dtype] // 8


def _pool(pool: KvPool, cache: CacheShape) -> dict[str, Any]:
    return {
        "layers": list(pool.layers),
        "stage": pool.stage,
        "kv_heads": pool.kv_heads,
        "head_dim": pool.head_dim,
        "shape": list(pool.shape(cache)),
        "bytes_per_page": page_bytes(pool, cache.page_tokens, cache.dtype),
    }


def _parameter(one: Parameter) -> dict[str, Any]:
    rows = [list(row) for row in one.weights]
    return {
        "name": one.name,
        "dtype": one.dtype,
        "shape": list(one.shape),
        "stage": one.stage,
        "parts": {"axes": list(one.axes), "weights": rows if one.stacked else rows[0]},
        "offset": one.offset,
    }


def _step(step: Step) -> dict[str, Any]:
    stages = [
        {"program": one.program or None, "executable": one.executable or None}
        for one in step.stages
    ]
    return {**asdict(step.shape), "stages": stages}


def _lines(document: Mapping[str, Any]) -> str:
    """Return JSON with a line for each entry of a list, so that two plans can be compared."""
    parts = []
    for key, value in document.items():
        text = json.dumps(value)
        if isinstance(value, list):
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]" if value else "[]"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
