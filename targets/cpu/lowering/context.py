"""The state of lowering one module: its buffers, launches, kernels and packed weights so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ingot.ir import Module, Operation, Rope, Value
from ingot.targets.base import ModelFacts, PackedWeight
from ingot.targets.cpu.kernel import Kernel
from ingot.targets.cpu.memory import BufferRequest, Effects
from ingot.targets.cpu.plan import KvDtype, KvLayer, Launch, Rows, State, Units, Variant

from .arguments import Argument, View

ROW_ALIGNMENT = 16
"""Float rows are padded to this many features."""


@dataclass
class Context:
    """What the lowering of one operation adds to, and looks up in.

    `views` says where each activation lies; `weight_names` is by expression and packing; `pools`
    are the pools of KV cache by the keys and values that are written to them; `deferred_ropes` are
    rotations of keys that the write to the cache does, by their results; `done` are operations that
    another one's launch does.
    """

    module: Module
    facts: ModelFacts
    kv_dtype: KvDtype
    views: dict[Value, View] = field(default_factory=dict)
    requests: list[BufferRequest] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    effects: list[Effects] = field(default_factory=list)
    kernels: dict[str, Kernel] = field(default_factory=dict)
    weights: dict[str, PackedWeight] = field(default_factory=dict)
    weight_names: dict[tuple[str, str], str] = field(default_factory=dict)
    pools: dict[tuple[Value, Value], KvLayer] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)
    rope_tables: dict[tuple[object, ...], View] = field(default_factory=dict)
    deferred_ropes: dict[Value, Rope] = field(default_factory=dict)
    done: set[Operation] = field(default_factory=set)

    def new_view(self, name: str, rows: Rows, columns: int, *, row_bytes: int = 0) -> View:
        """Make a buffer for `columns` floats a row, or for rounded rows of `row_bytes`."""
        stride = row_bytes or 4 * padded(columns, ROW_ALIGNMENT)
        self.requests.append(BufferRequest(name, rows, stride))
        return View(len(self.requests) - 1, rows, columns, stride, rounded=bool(row_bytes))

    def launch(
        self,
        name: str,
        variants: Sequence[tuple[int | None, Kernel | tuple[Kernel, ...]]],
        arguments: Mapping[str, Argument],
        *,
        rows: Rows,
        units: Units,
        grain: int = 1,
    ) -> None:
        """Add a launch; `arguments` are by slot name, none missing, none left over.

        A variant of several kernels has candidates that compute the same bits, the default first.
        """
        listed = [(rows, one if isinstance(one, tuple) else (one,)) for rows, one in variants]
        first = listed[0][1][0]
        names = [slot.name for slot in first.slots]
        for kernel in (kernel for _, candidates in listed for kernel in candidates):
            assert [slot.name for slot in kernel.slots] == names, f"slots of {kernel.name}"
            known = self.kernels.setdefault(kernel.name, kernel)
            assert known.slots == kernel.slots, f"two kernels are called {kernel.name}"
        assert set(arguments) == set(names), (
            f"{first.name}: given {sorted(arguments)}, wants {names}"
        )
        given = [arguments[slot] for slot in names]
        self.launches.append(
            Launch(
                name,
                tuple(Variant(rows, tuple(kernel.name for kernel in ks)) for rows, ks in listed),
                rows,
                units,
                grain,
                tuple(argument.slot for argument in given),
            )
        )
        self.effects.append(
            Effects(
                tuple(access for argument in given for access in argument.reads),
                tuple(access for argument in given for access in argument.writes),
            )
        )

    def add_weight(self, weight: PackedWeight) -> str:
        """Note a weight to be written, once however often it is used; return its name."""
        known = self.weights.get(weight.name, weight)
        assert (known.packing, known.num_bytes) == (weight.packing, weight.num_bytes), weight.name
        most = max(known.step_bytes, weight.step_bytes)
        self.weights[weight.name] = replace(known, step_bytes=most)
        return weight.name


def padded(count: int, multiple: int) -> int:
    """`count` rounded up to a multiple."""
    return -(-count // multiple) * multiple
