"""Turn `plan.json` into the native plan, with kernels and weights resolved to addresses.

The schema stands in docs/architecture.md, section 5, and in `targets/cpu/plan.py`, which writes it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ArtifactError

from . import _native
from .tuning.choice import NO_CHOICES, Choices, Family, family_of, serving

PLAN_VERSION = 3
ANY_ROWS = -1

_STEP_SLOTS = {
    "field": {"tokens", "rows"},
    "input": {
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
    },
}


@dataclass(frozen=True)
class PlanFile:
    """A plan as read, before kernels and weights are resolved."""

    document: Mapping[str, Any]
    where: str

    @staticmethod
    def parse(document: object, where: str) -> "PlanFile":
        """Check what the rest relies on; raises `ArtifactError` for another version."""
        if not isinstance(document, dict):
            raise _malformed(where, "it is no JSON object")
        if document.get("version") != PLAN_VERSION:
            raise ArtifactError(
                f"plan version {document.get('version')}, this Ingot runs {PLAN_VERSION}",
                where=where,
                hint="Compile the model again.",
            )
        return PlanFile(document, where)

    @property
    def symbols(self) -> frozenset[str]:
        """The kernels that the launches call by default."""
        return frozenset(symbol for family in self._families() for _, symbol in family.default)

    @property
    def alternatives(self) -> frozenset[str]:
        """The kernels that may serve instead of those; an object need not have them."""
        symbols = (family.symbols for family in self._families())
        return frozenset().union(*symbols) - self.symbols

    def families(self, available: Collection[str]) -> dict[str, Family]:
        """Return the families of kernels that leave a choice among `available` ones, by name."""
        found = (family.among(available) for family in self._families())
        return {family.name: family for family in found if len(family.symbols) > 1}

    def _families(self) -> list[Family]:
        try:
            return [family_of(launch) for launch in self.document["launches"]]
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed(self.where, _reason(error)) from error

    @property
    def kv_bytes_per_page(self) -> int:
        """Bytes of one page in all layers together."""
        try:
            layers = self.document["kv_cache"]["layers"]
            return sum(int(layer["bytes_per_page"]) for layer in layers)
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed(self.where, _reason(error)) from error

    @property
    def state_bytes(self) -> list[int]:
        """Bytes of one sequence in each pool of states."""
        try:
            return [int(state["bytes"]) for state in self.document.get("states", [])]
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed(self.where, _reason(error)) from error

    def resolve(
        self,
        kernels: Mapping[str, int],
        weights: Mapping[str, NDArray[np.uint8]],
        choices: Choices = NO_CHOICES,
    ) -> _native.Plan:
        """Build the native plan; raises `ArtifactError` for whatever does not fit together.

        Where `choices` do not name a launch's kernels, the defaults serve.
        """
        indices = {name: index for index, name in enumerate(weights)}
        try:
            plan = _plan(self.document, kernels, weights, indices, choices)
            plan.validate()
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed(self.where, _reason(error)) from error
        return plan


def _plan(
    document: Mapping[str, Any],
    kernels: Mapping[str, int],
    weights: Mapping[str, NDArray[np.uint8]],
    indices: Mapping[str, int],
    choices: Choices,
) -> _native.Plan:
    limits, cache = document["limits"], document["kv_cache"]
    return _native.Plan(
        vocab_size=limits["vocab_size"],
        max_positions=limits["max_positions"],
        page_tokens=limits["page_tokens"],
        row_width=limits.get("row_width", 0),
        token_types=limits.get("token_types", 0),
        kv_page_bytes=[layer["bytes_per_page"] for layer in cache["layers"]],
        state_bytes=[state["bytes"] for state in document.get("states", [])],
        logits=document["logits"],
        buffers=[_buffer(buffer) for buffer in document["buffers"]],
        weights=[_native.Weight(name, w.ctypes.data, w.nbytes) for name, w in weights.items()],
        launches=[_launch(launch, kernels, indices, choices) for launch in document["launches"]],
    )


def _buffer(buffer: Mapping[str, Any]) -> _native.Buffer:
    rows = _native.Rows[buffer["rows"]]
    return _native.Buffer(buffer["name"], rows, buffer["row_bytes"], buffer["offset_bytes"])


def _launch(
    launch: Mapping[str, Any],
    kernels: Mapping[str, int],
    weights: Mapping[str, int],
    choices: Choices,
) -> _native.Launch:
    [(unit_kind, units)] = launch["units"].items()
    return _native.Launch(
        name=launch["name"],
        variants=[
            _native.Variant(ANY_ROWS if rows is None else rows, kernels[symbol])
            for rows, symbol in serving(launch, choices)
        ],
        rows=_native.Rows[launch["rows"]],
        unit_kind=_native.UnitKind[unit_kind],
        units=units,
        grain=launch["grain"],
        barrier=launch["barrier"],
        slots=[_slot(slot, weights) for slot in launch["slots"]],
    )


def _slot(slot: list[Any], weights: Mapping[str, int]) -> _native.Slot:
    match slot:
        case ["buffer", index, offset]:
            return _native.Slot(_native.SlotKind.buffer, index, offset)
        case ["weight", name, offset]:
            return _native.Slot(_native.SlotKind.weight, weights[name], offset)
        case ["int", value]:
            return _native.Slot(_native.SlotKind.integer, 0, value)
        case ["kv", layer]:
            return _native.Slot(_native.SlotKind.kv, layer)
        case ["state", index]:
            return _native.Slot(_native.SlotKind.state, index)
        case ["field" | "input" as group, name] if name in _STEP_SLOTS[group]:
            return _native.Slot(_native.SlotKind[name])
    raise ValueError(f"unknown slot {slot}")


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _malformed(where: str, reason: str) -> ArtifactError:
    return ArtifactError(
        f"the plan is malformed: {reason}", where=where, hint="Compile the model again."
    )
