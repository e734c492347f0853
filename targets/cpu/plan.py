"""The plan of the CPU target: a flat list of kernel launches over one arena, as plain data.

The dataclasses here are the schema of `targets/cpu/plan.json`; the native executor runs the file
without knowing what a launch computes.  Buffers are addressed as base + `offset_bytes` times
capacity, where capacity is the number of rows that the executor is created for.
"""

import json
from dataclasses import dataclass, fields
from typing import Literal

PLAN_VERSION = 3
PAGE_TOKENS = 16

Rows = Literal["tokens", "rows"]
KvDtype = Literal["float32", "bfloat16", "int8"]
StepInput = Literal[
    "token_ids",
    "positions",
    "row_ids",
    "slots",
    "tasks",
    "block_tables",
    "block_stride",
    "token_types",
    "starts",
    "sequences",
]
Json = dict[str, "Json"] | list["Json"] | str | int | bool | None


@dataclass(frozen=True)
class Limits:
    """What a request may ask of the model; `page_tokens` is the size of a page of KV cache.

    `row_width` is that of the row that a model which pools gives for a sequence, 0 where it gives
    logits; `token_types` is how many it tells apart, 0 where it does not read them.
    """

    vocab_size: int
    max_positions: int
    page_tokens: int = PAGE_TOKENS
    row_width: int = 0
    token_types: int = 0


@dataclass(frozen=True)
class KvLayer:
    """Keys and values of one layer, or of several that share them; `layer` is the first.

    `value_dim` is the size of a head's values; `bytes_per_page` is for all heads.
    """

    layer: int
    kv_heads: int
    head_dim: int
    value_dim: int
    bytes_per_page: int


@dataclass(frozen=True)
class KvCache:
    """The layers that keep keys and values, each in a pool of pages of its own."""

    dtype: KvDtype
    layers: tuple[KvLayer, ...] = ()

    def to_json(self) -> Json:
        return {"dtype": self.dtype, "layers": [_record(layer) for layer in self.layers]}


@dataclass(frozen=True)
class State:
    """What one layer carries from token to token under `name`: `bytes` a sequence, a pool of its
    own."""

    layer: int
    name: str
    bytes: int


@dataclass(frozen=True)
class Buffer:
    """One activation: `row_bytes` a row, at `offset_bytes` times capacity in the arena."""

    name: str
    rows: Rows
    row_bytes: int
    offset_bytes: int


@dataclass(frozen=True)
class BufferSlot:
    """The address of a buffer, `byte_offset` bytes into its first row."""

    buffer: int
    byte_offset: int = 0

    def to_json(self) -> Json:
        return ["buffer", self.buffer, self.byte_offset]


@dataclass(frozen=True)
class WeightSlot:
    """The address of a packed weight."""

    name: str
    byte_offset: int = 0

    def to_json(self) -> Json:
        return ["weight", self.name, self.byte_offset]


@dataclass(frozen=True)
class IntSlot:
    """A constant."""

    value: int

    def to_json(self) -> Json:
        return ["int", self.value]


@dataclass(frozen=True)
class FieldSlot:
    """A number of the step: of its tokens, or of the rows whose logits are wanted."""

    field: Rows

    def to_json(self) -> Json:
        return ["field", self.field]


@dataclass(frozen=True)
class InputSlot:
    """The address of an int32 array of the step; `block_stride` is the number itself."""

    name: StepInput

    def to_json(self) -> Json:
        return ["input", self.name]


@dataclass(frozen=True)
class KvSlot:
    """The address of the pool of KV cache pages at `index` in the plan's list."""

    index: int

    def to_json(self) -> Json:
        return ["kv", self.index]


@dataclass(frozen=True)
class StateSlot:
    """The address of the pool of states at `index` in the plan's list."""

    index: int

    def to_json(self) -> Json:
        return ["state", self.index]


Slot = BufferSlot | WeightSlot | IntSlot | FieldSlot | InputSlot | KvSlot | StateSlot


@dataclass(frozen=True)
class Units:
    """How much work a launch has: `number`, or that times rows, attention tasks or sequences."""

    kind: Literal["count", "per_row", "tasks", "sequences"]
    number: int


@dataclass(frozen=True)
class Variant:
    """A kernel by its symbol, and the largest number of rows that it serves (None: any number).

    Several symbols are candidates: kernels that compute the same bits.  The first is the default
    and in the objects of all levels; the others are where it may pay to measure them.
    """

    max_rows: int | None
    symbols: tuple[str, ...]

    def to_json(self) -> Json:
        one = len(self.symbols) == 1
        return [self.max_rows, self.symbols[0] if one else list(self.symbols)]


@dataclass(frozen=True)
class Launch:
    """One kernel call, shared among the threads in shares of `grain` units.

    `kernels` are the variants, smallest `max_rows` first.  `barrier` false: the next launch does
    not depend on this one, nor on those before it back to the last barrier.
    """

    name: str
    kernels: tuple[Variant, ...]
    rows: Rows
    units: Units
    grain: int
    slots: tuple[Slot, ...]
    barrier: bool = True

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "kernels": [variant.to_json() for variant in self.kernels],
            "rows": self.rows,
            "units": {self.units.kind: self.units.number},
            "grain": self.grain,
            "barrier": self.barrier,
            "slots": [slot.to_json() for slot in self.slots],
        }


@dataclass(frozen=True)
class Plan:
    """Everything that the native executor needs beside the kernels and the weights."""

    limits: Limits
    kv_cache: KvCache
    buffers: tuple[Buffer, ...]
    launches: tuple[Launch, ...]
    logits: int
    states: tuple[State, ...] = ()

    @property
    def arena_bytes_per_row(self) -> int:
        """Bytes of arena for each row of capacity."""
        return max((b.offset_bytes + b.row_bytes for b in self.buffers), default=0)

    def to_json(self) -> Json:
        """The plan as JSON values; keys and order never vary for the same plan."""
        return {
            "version": PLAN_VERSION,
            "limits": _record(self.limits),
            "kv_cache": self.kv_cache.to_json(),
            "states": [_record(state) for state in self.states],
            "buffers": [_record(buffer) for buffer in self.buffers],
            "launches": [launch.to_json() for launch in self.launches],
            "logits": self.logits,
        }

    def text(self) -> str:
        """The bytes of `plan.json`: one launch a line, so that two plans can be compared."""
        document = self.to_json()
        assert isinstance(document, dict)
        lines = []
        for key, value in document.items():
            if isinstance(value, list):
                rows = ",\n".join("  " + json.dumps(row) for row in value)
                lines.append(f"{json.dumps(key)}: [\n{rows}\n]")
            else:
                lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
        return "{" + ",\n".join(lines) + "}\n"


def _record(value: Limits | KvLayer | State | Buffer) -> Json:
    return {field.name: getattr(value, field.name) for field in fields(value)}
