"""Medians and ratios over the rounds of one model."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .forms import FORMS, OURS
from .models import Model
from .parts import PARTS
from .store import Record

LOADS = {part.name: part.load for part in PARTS}
KV_ELEMENT_BYTES = {"llama.cpp": 2.0, "openvino": 1.125, "ort": 4.0}
"""Of the peers' KV caches: float16, bytes with a scale and a minimum per 32, float32."""


@dataclass(frozen=True)
class Facts:
    """Of a converted model: bytes of its files, of what a token reads, and of its KV cache."""

    file_bytes: int
    read_bytes: int
    kv_token_bytes: float


@dataclass(frozen=True)
class ModelResult:
    """The records of one model, with the facts and the conversion seconds of its forms."""

    model: Model
    records: Sequence[Record]
    facts: Mapping[str, Facts]
    conversion: Mapping[str, float]

    def forms(self, width: str) -> list[str]:
        """The forms of a width that were measured at all."""
        names = {record.form for record in self.records}
        return [form.name for form in FORMS if form.width == width and form.name in names]

    def peers(self, width: str) -> list[str]:
        """Those of other runtimes."""
        return [name for name in self.forms(width) if not name.startswith("ingot")]

    def seconds(self, form: str) -> float | None:
        """How long the conversion took, where it was done by this tool."""
        [file] = [each.file for each in FORMS if each.name == form]
        return self.conversion.get(file)

    def values(self, form: str, part: str, key: str) -> dict[int, float]:
        """Return the value of every round; disturbed rounds only where there are no others."""
        return {r.round: r.values[key] for r in self._counted(form, part) if key in r.values}

    def median(self, form: str, part: str, key: str) -> float | None:
        """Return the median over the rounds."""
        return _median(self.values(form, part, key).values())

    def ratio(self, width: str, part: str, key: str, least: bool = False) -> float | None:
        """Return the median over rounds of our figure by the best peer's of the same round."""
        ours = self.values(OURS[width], part, key)
        best = self._best_by_round(width, part, key, least)
        return _median(ours[number] / best[number] for number in ours if number in best)

    def best_peer(self, width: str, part: str, key: str, least: bool = False) -> str:
        """Return the name of the peer's form with the best median."""
        medians = {
            form: value
            for form in self.peers(width)
            if (value := self.median(form, part, key)) is not None
        }
        choose = min if least else max
        return choose(medians, key=medians.__getitem__) if medians else "no peer"

    def read_share(self, form: str, part: str) -> float | None:
        """Return the median share of the read bandwidth that decoding takes."""
        facts = self.facts.get(form)
        if facts is None:
            return None
        load = LOADS[part]
        tokens = load.prompt + load.new / 2
        step = 1e-9 * (facts.read_bytes + load.sequences * tokens * facts.kv_token_bytes)
        return self._share(form, part, lambda r: step * r.values["decode"] / r.limits["read"])

    def best_read_share(self, width: str, part: str) -> float:
        """Return the largest share that a peer's form reaches."""
        shares = [self.read_share(form, part) for form in self.peers(width)]
        return max((share for share in shares if share is not None), default=0.0)

    def peak_share(self, form: str, part: str, limits: Sequence[str]) -> float | None:
        """Return the median share of an arithmetic peak, the largest of `limits`, in prefill."""
        token = 2e-9 * self.model.linear_weights
        return self._share(
            form,
            part,
            lambda r: token * r.values["prefill"] / max(r.limits[name] for name in limits),
        )

    def kept(self, form: str) -> float | None:
        """Return the median share of the decoding rate that is left beside a busy process."""
        return self._share(form, "neighbour", lambda r: r.values["beside"] / r.values["decode"])

    def _share(self, form: str, part: str, share: Callable[[Record], float]) -> float | None:
        return _median(share(record) for record in self._counted(form, part))

    def _counted(self, form: str, part: str) -> list[Record]:
        found = [r for r in self.records if (r.form, r.part) == (form, part)]
        return [r for r in found if not r.disturbed] or found

    def _best_by_round(self, width: str, part: str, key: str, least: bool) -> dict[int, float]:
        rounds: dict[int, list[float]] = {}
        for form in self.peers(width):
            for number, value in self.values(form, part, key).items():
                rounds.setdefault(number, []).append(value)
        return {number: (min if least else max)(values) for number, values in rounds.items()}


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None
