"""What a configuration costs: seconds of its steps, and bytes on its fullest device."""

from collections import Counter
from dataclasses import dataclass, field

from ingot.ir import Mesh, Module, columns_of
from ingot.targets import Hardware

from .dividing import collectives, divided
from .memory import Memory, kv_memory, result_memory, temporary_memory, weight_memory
from .roofline import Spent, Work, spend_all
from .sizes import Sizes
from .walking import Step, Visit, visits
from .work import work_of

Worked = list[tuple[Visit, Work]]


@dataclass(frozen=True)
class Workload:
    """What the devices are to do: `batch` sequences of `context` tokens; prompts of `prompt`.

    Prompts are read in steps of at most `chunk` tokens.
    """

    batch: int
    context: int
    prompt: int
    chunk: int

    def sequences(self, mesh: Mesh) -> int:
        """Return the sequences of the fullest data group."""
        return -(-self.batch // mesh.data_groups)

    def decode(self, mesh: Mesh) -> Step:
        """Return the step that adds the last token to every sequence of a data group."""
        return Step.decode(self.sequences(mesh), self.context - 1)

    def prefill(self) -> list[Step]:
        """Return the steps that read a prompt."""
        starts = range(0, self.prompt, self.chunk)
        return [Step.prefill(min(self.chunk, self.prompt - start), start) for start in starts]


@dataclass(frozen=True)
class Price:
    """Bytes on the fullest device, seconds of a decoding step and seconds to the first token."""

    memory: Memory
    decode: Spent
    first: Spent


@dataclass(frozen=True)
class Priced:
    """A module whose operations are asked once for what they cost in a step.

    `undivided` gives the sizes of a module that knows no mesh, whose parts on one are estimated;
    without them the module is the program of each device of its mesh.
    """

    module: Module
    undivided: Sizes | None = None
    _seen: dict[tuple[Step, str], Worked] = field(default_factory=dict)
    _kept: dict[Step, float] = field(default_factory=dict)

    def on(self, mesh: Mesh, load: Workload, hardware: Hardware, kv_dtype: str) -> Price:
        """Return the price on a mesh; the stages of a pipeline follow each other."""
        decode, prompts = load.decode(mesh), load.prefill()
        seen = [visit for visit, _ in self._works(decode, kv_dtype)]
        whole = self.undivided is not None
        memory = Memory(
            weight_memory(seen, mesh if whole else None),
            kv_memory(seen, decode.sequences, load.context, kv_dtype, mesh, whole),
            max(self._temporaries(step, kv_dtype) for step in (decode, prompts[0]))
            / (mesh.size("tp") if whole else 1)
            + result_memory(columns_of(self.module.step.type.results[0]), decode.sequences),
        )
        spent = [self._spent(step, mesh, hardware, kv_dtype) for step in (decode, *prompts)]
        return Price(memory, spent[0], sum(spent[1:], Spent()))

    def _works(self, step: Step, kv_dtype: str) -> Worked:
        found = self._seen.get((step, kv_dtype))
        if found is None:
            found = [(v, work_of(v, step, kv_dtype)) for v in visits(self.module, step)]
            self._seen[step, kv_dtype] = found
        return found

    def _temporaries(self, step: Step, kv_dtype: str) -> float:
        if step not in self._kept:
            seen = [visit for visit, _ in self._works(step, kv_dtype)]
            self._kept[step] = temporary_memory(seen)
        return self._kept[step]

    def _spent(self, step: Step, mesh: Mesh, hardware: Hardware, kv_dtype: str) -> Spent:
        worked = self._works(step, kv_dtype)
        if self.undivided is None:
            return spend_all(Counter(work for _, work in worked), hardware)
        works = Counter(divided(work, visit, mesh) for visit, work in worked)
        return spend_all(works + collectives(self.undivided, step, mesh), hardware)
