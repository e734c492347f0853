"""Runs lowered steps on virtual CPU devices, batch after batch, as an executor would."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray

from ingot.ir import (
    Batch,
    Interpreter,
    Mesh,
    Module,
    Quant,
    QuantTensor,
    Weight,
    evaluate_weight,
    quantize,
    shape_of,
    torch_dtype,
)
from ingot.runtime.xla.pjrt import Client, Group, open_client
from ingot.targets.xla.lowering import (
    CacheShape,
    Options,
    Parameter,
    StepShape,
    lower_step,
    pools_of,
    step_input_shapes,
    weights_of,
)
from ingot.targets.xla.parameters import pack

PAGE_TOKENS = 16
PLAIN = Options()
DTYPES: Mapping[str, Any] = {
    "float32": np.float32,
    "bfloat16": ml_dtypes.bfloat16,
    "float16": np.float16,
    "int8": np.int8,
}


@cache
def client(devices: int) -> Client:
    return open_client("cpu", devices)


def quick_group(devices: int, numbers: Sequence[int]) -> Group:
    """Return devices whose compiler does not optimise: programs are run once or twice here."""
    group = client(devices).group(numbers)
    group.options.env_option_overrides = [("xla_backend_optimization_level", "0")]
    return group


def random_weights(module: Module, seed: int = 0) -> dict[str, torch.Tensor | QuantTensor]:
    """Return values for all weights of a module, as they are stored."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, torch.Tensor | QuantTensor] = {}
    for op in module.step.entry_block.operations:
        if isinstance(op, Weight) and op.symbol not in found:
            shape = shape_of(op.out)
            values = torch.randn(shape, generator=generator) / max(1, shape[-1]) ** 0.5
            if "norm" in op.symbol or len(shape) == 1:
                values = 1 + values.abs()
            kind = op.out.type
            if isinstance(kind, Quant):
                found[op.symbol] = quantize(values, kind.encoding)
            else:
                found[op.symbol] = values.to(torch_dtype(op.out))
    return found


@dataclass
class Running:
    """A sequence of the machine: its length so far and its pages, all of one data group."""

    group: int
    length: int = 0
    pages: list[int] = field(default_factory=list)


class Machine:
    """A module's programs with their weights and KV cache."""

    def __init__(
        self,
        module: Module,
        weights: Mapping[str, torch.Tensor | QuantTensor],
        options: Options = PLAIN,
        *,
        pages: int = 24,
        blocks: int = 9,
        kv_dtype: Any = "float32",
    ) -> None:
        self.module, self.options, self.blocks = module, options, blocks
        self.mesh = module.mesh or Mesh(())
        self.cache = CacheShape(pages, PAGE_TOKENS, kv_dtype)
        self.stages = self.mesh.size("pp")
        self.groups = [
            quick_group(self.mesh.devices, self._devices(stage)) for stage in range(self.stages)
        ]
        plan = weights_of(module, options)
        packed = {
            one.name: pack(
                one.packing, evaluate_weight(one.value, weights, coordinates=one.coordinates)
            )
            for one in plan.packed
        }
        for one in plan.packed:
            assert packed[one.name].size == one.num_bytes, one.name
        self.parameters = [
            [
                self.groups[stage].put(
                    [
                        self._array(one, packed, self.mesh.coordinates(device))
                        for device in self._devices(stage)
                    ]
                )
                for one in plan.parameters
                if one.stage == stage
            ]
            for stage in range(self.stages)
        ]
        self.pools = [
            [
                self.groups[stage].put(
                    [np.zeros(pool.shape(self.cache), DTYPES[kv_dtype])] * len(self._devices(stage))
                )
                for pool in pools_of(module, options)
                if pool.stage == stage
            ]
            for stage in range(self.stages)
        ]
        self.sequences: list[Running] = []
        self.used = [0] * self.mesh.data_groups
        self.programs: dict[StepShape, list[Any]] = {}

    def _devices(self, stage: int) -> list[int]:
        return [
            device
            for device in range(self.mesh.devices)
            if self.mesh.coordinates(device).get("pp", 0) == stage
        ]

    def _array(
        self, one: Parameter, packed: Mapping[str, NDArray[Any]], places: Mapping[str, int]
    ) -> NDArray[Any]:
        number = 0
        for axis in one.axes:
            number = number * self.mesh.size(axis) + places[axis]
        rows = []
        for row in one.weights:
            raw = packed[row[number]][one.offset : one.offset + one.num_bytes]
            shape = one.shape[1:] if one.stacked else one.shape
            rows.append(_decoded(raw, one.dtype, shape))
        return np.stack(rows) if one.stacked else rows[0]

    def program(self, shape: StepShape) -> list[Any]:
        if shape not in self.programs:
            lowered = lower_step(self.module, shape, self.cache, self.options)
            self.programs[shape] = [
                (one, self.groups[one.stage].compile(one.portable())) for one in lowered
            ]
        return self.programs[shape]

    def step(
        self,
        tokens: Sequence[NDArray[Any]],
        which: Sequence[int],
        rows: Sequence[int] | None = None,
        *,
        padding: int = 0,
        decode: bool = False,
    ) -> NDArray[Any]:
        """Run some tokens of the sequences `which` (new ones are next); return logits `[rows, V]`.

        `rows` are indices of tokens, None for all.  `padding` more tokens, sequences and rows are
        in the step than in the batch.
        """
        while len(self.sequences) <= max(which):
            self.sequences.append(Running(len(self.sequences) % self.mesh.data_groups))
        starts = np.concatenate([[0], np.cumsum([len(one) for one in tokens])])
        wanted = list(range(starts[-1])) if rows is None else list(rows)
        parts = [
            self._part(group, tokens, which, starts, wanted)
            for group in range(self.mesh.data_groups)
        ]
        total = max(len(part["token_ids"]) for part in parts) + padding
        count = max(len(part["lengths"]) for part in parts) + padding
        shape = StepShape(
            count if decode else total,
            count,
            max(max(len(part["rows"]) for part in parts), 1) + padding,
            self.blocks,
            decode,
        )
        total = shape.tokens
        results: list[Any] = []
        for program, executable in self.program(shape):
            stage = program.stage
            group = self.groups[stage]
            inputs = {
                name: group.put(
                    [self._input(name, size, parts, device) for device in self._devices(stage)]
                )
                for name, size in step_input_shapes(shape).items()
            }
            moved = [group.move(part) for part in results]
            arguments = [*inputs.values(), *moved, *self.pools[stage], *self.parameters[stage]]
            results, self.pools[stage] = executable.run(arguments, self.pools[stage])
        for one, sequence in zip(tokens, which, strict=True):
            self.sequences[sequence].length += len(one)
        return self._logits(results[0], parts, wanted)

    def _part(
        self, group: int, tokens: Any, which: Sequence[int], starts: Any, wanted: Sequence[int]
    ) -> dict[str, Any]:
        """Return the batch of one data group, not yet padded; `order` numbers its rows."""
        own = [i for i, s in enumerate(which) if self.sequences[s].group == group]
        span = PAGE_TOKENS * self.mesh.size("cp")
        ids, positions, owners, places, tables, lengths = [], [], [], [], [], []
        begin, first, rows, order = [0], 0, [], []
        for number, i in enumerate(own):
            sequence, new = self.sequences[which[i]], tokens[i]
            end = sequence.length + len(new)
            while len(sequence.pages) * span < end:
                sequence.pages.append(self.used[group])
                self.used[group] += 1
            assert self.used[group] <= self.cache.pages
            at = np.arange(sequence.length, end)
            ids.extend(new)
            positions.extend(at)
            owners.extend([number] * len(new))
            places.extend((sequence.pages[p // span], p % span) for p in at)
            tables.append(sequence.pages)
            lengths.append(end)
            for row, index in enumerate(wanted):
                if starts[i] <= index < starts[i + 1]:
                    rows.append(first + index - starts[i])
                    order.append(row)
            first += len(new)
            begin.append(first)
        return {
            "token_ids": ids,
            "positions": positions,
            "sequence_ids": owners,
            "places": places,
            "block_tables": tables,
            "starts": begin,
            "lengths": lengths,
            "num_sequences": [len(own)],
            "rows": rows,
            "order": order,
        }

    def _input(self, name: str, shape: tuple[int, ...], parts: Any, device: int) -> NDArray[Any]:
        part = parts[self.mesh.data_group(device)]
        array = np.zeros(shape, np.int32)
        if name == "slots":
            array[:] = -1
            place = self.mesh.coordinates(device).get("cp", 0)
            for i, (page, inside) in enumerate(part["places"]):
                if inside // PAGE_TOKENS == place:
                    array[i] = page * PAGE_TOKENS + inside % PAGE_TOKENS
        elif name == "block_tables":
            for i, pages in enumerate(part[name]):
                array[i, : len(pages)] = pages
        else:
            values = part[name]
            array[: len(values)] = values
            if name == "starts":
                array[len(values) :] = values[-1]
        return array

    def _logits(self, result: Any, parts: Any, wanted: Sequence[int]) -> NDArray[Any]:
        stage_devices = self._devices(self.stages - 1)
        found: dict[int, NDArray[Any]] = {}
        for index, device in enumerate(stage_devices):
            part = parts[self.mesh.data_group(device)]
            logits = result.read(index)
            for row, place in enumerate(part["order"]):
                if place in found:
                    np.testing.assert_array_equal(found[place], logits[row])
                found[place] = logits[row]
        return np.stack([found[i] for i in range(len(wanted))])


@dataclass
class Twin:
    """A machine and the interpreter, side by side; the machine's module may be sharded."""

    machine: Machine
    interpreter: Interpreter
    vocabulary: int
    caches: dict[int, Any] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: np.random.default_rng(1))

    def error(
        self,
        lengths: Sequence[int],
        which: Sequence[int],
        rows: list[int] | None = None,
        **how: Any,
    ) -> float:
        """Run so many new tokens of the sequences `which` on both; return the relative error."""
        tokens = [self.numbers.integers(0, self.vocabulary, length) for length in lengths]
        found = self.machine.step(tokens, which, rows, **how)
        ends = [self.machine.sequences[sequence].length for sequence in which]
        positions = [np.arange(e - n, e) for e, n in zip(ends, lengths, strict=True)]
        batch = Batch(
            [0, *np.cumsum(lengths).tolist()],
            rows,
            [self.caches.setdefault(sequence, {}) for sequence in which],
        )
        ids, places = (torch.tensor(np.concatenate(one)) for one in (tokens, positions))
        expected = self.interpreter.step(ids, places, batch).numpy()
        return float(np.abs(found - expected).max() / np.abs(expected).max())


def _decoded(raw: NDArray[Any], dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    if dtype == "int4":
        pairs = np.stack([raw & 15, raw >> 4], -1).reshape(-1)
        both = pairs[: prod(shape)].reshape(shape).astype(np.int8)
        return ((both ^ 8) - 8).astype(ml_dtypes.int4)
    return raw.view(DTYPES[dtype]).reshape(shape)
