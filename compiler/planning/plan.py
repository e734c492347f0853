"""From a model and a request to a plan: what fits, how fast it should be, and what it costs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ingot.errors import UnsupportedError, UsageError
from ingot.ir import Encoding, Module
from ingot.models import Checkpoint
from ingot.targets import Hardware, KvDtype, ModelFacts, Settings, Target

from .candidates import Candidate
from .checking import check_best
from .machine import measure_machine
from .question import Progress, Question
from .request import Request, default_encodings
from .search import search

HERE = ("cpu", "xla:cpu")
"""Targets whose programs run on the machine at hand, which is measured."""
KV_DTYPES: Mapping[str, tuple[KvDtype, ...]] = {
    "cpu": ("bfloat16", "int8"),
    "xla:cpu": ("float32", "bfloat16"),
}
"""Types of the KV cache to choose among; bfloat16 on targets that are not named."""


@dataclass(frozen=True)
class Plan:
    """What is known of every configuration, best first."""

    name: str
    model: str
    target: str
    devices: int
    hardware: Hardware
    request: Request
    candidates: tuple[Candidate, ...]
    obstacles: Mapping[str, str]
    static: bool

    def shown(self) -> list[tuple[int, Candidate]]:
        """Return the rows of the table by rank: the best, and the best of each encoding."""
        rows, encodings = [], set()
        for number, one in enumerate(self.candidates, 1):
            encoding = one.configuration.encoding
            if number <= self.request.top or encoding not in encodings:
                rows.append((number, one))
            encodings.add(encoding)
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values: bytes, seconds, tokens a second."""
        return {
            "model": self.name,
            "target": self.target,
            "devices": self.devices,
            "hardware": asdict(self.hardware),
            "request": asdict(self.request),
            "left_out": dict(self.obstacles),
            "configurations": [one.to_json(self.request) for one in self.candidates],
        }


def make_plan(
    checkpoint: Checkpoint,
    module: Module,
    facts: ModelFacts,
    target: Target,
    settings: Settings,
    request: Request,
    progress: Progress,
    *,
    model: str = "",
    compiles: bool = True,
) -> Plan:
    """Return the plan for an imported model; `module` stays as it is.

    `compiles`: the best few are compiled, if the target compiles for its devices ahead of time.
    Raises `UsageError` for what cannot be asked, and where no mesh divides the model;
    `UnsupportedError` for a model that does not generate.
    """
    question = ask(checkpoint, module, facts, target, settings, request)
    found = search(question, progress)
    candidates = list(found.candidates)
    if compiles and question.devices > 0 and target.label not in HERE:
        checked = {one.configuration: one for one in check_best(question, candidates, progress)}
        candidates = [checked.get(one.configuration, one) for one in candidates]
        candidates.sort(key=lambda one: one.rank(question.request))
    return Plan(
        name=checkpoint.name,
        model=model,
        target=target.label,
        devices=question.devices,
        hardware=question.hardware,
        request=question.request,
        candidates=tuple(candidates),
        obstacles=found.obstacles,
        static=target.label != "cpu",
    )


def ask(
    checkpoint: Checkpoint,
    module: Module,
    facts: ModelFacts,
    target: Target,
    settings: Settings,
    request: Request,
) -> Question:
    """Return the question with all numbers given; see `make_plan` for what it raises."""
    if checkpoint.head.task != "generate":
        raise UnsupportedError(
            f"the model is made to {checkpoint.head.task}, and a plan is for models that generate",
            where=checkpoint.name,
            hint="Compile it without a plan.",
        )
    infos = map(checkpoint.weights.info, checkpoint.weights)
    stored = any(isinstance(info.stored, Encoding) for info in infos)
    kinds = request.kv_dtypes or default_kv_dtypes(target)
    devices = devices_of(target, request)
    return Question(
        module=module,
        facts=facts,
        target=target,
        hardware=hardware_of(target, devices),
        settings=settings,
        request=request.within(facts.max_positions),
        devices=devices,
        encodings=request.encodings or default_encodings(target, stored),
        kv_dtypes=kinds,
    )


def default_kv_dtypes(target: Target) -> tuple[KvDtype, ...]:
    """Return the types of the KV cache to choose among where the user names none."""
    return KV_DTYPES.get(target.label, ("bfloat16",))


def devices_of(target: Target, request: Request) -> int:
    """Return how many devices to plan for; raise `UsageError` for a number the target lacks."""
    if target.devices and request.devices not in (0, target.devices):
        raise UsageError(
            f"target {target.label} has {target.devices} devices, not {request.devices}",
            where="--devices",
            hint="Leave --devices away, or name another target.",
        )
    return target.devices or request.devices or 1


def hardware_of(target: Target, devices: int) -> Hardware:
    """Return the numbers of one device: published, or measured where programs run here.

    Virtual devices share the machine, and send each other what they share through its memory.
    """
    if target.hardware is not None:
        return target.hardware
    if target.label not in HERE:
        raise UsageError(
            f"nothing is known of the speed and the memory of target {target.label}",
            where="--target",
            hint="Plan for a target that states its hardware, or for cpu, which is measured.",
        )
    machine = measure_machine()
    return replace(
        machine,
        memory_bytes=machine.memory_bytes // devices,
        memory_bandwidth=machine.memory_bandwidth / devices,
        flops={kind: rate / devices for kind, rate in machine.flops.items()},
        link_bandwidth=machine.memory_bandwidth / devices,
    )


def winner(plan: Plan) -> Candidate:
    """Return the best candidate; raise `UnsupportedError` where none fits.

    The error names the nearest.
    """
    best = plan.candidates[0]
    if best.fits:
        return best
    reason = best.refusal or (
        f"the nearest, {best.configuration.command()}, needs {best.bytes / 1e9:.2f} GB of a device "
        f"that has {best.capacity / 1e9:.2f} GB: {best.excess / 1e9:.2f} GB too much"
    )
    raise UnsupportedError(
        f"no configuration fits {plan.target}: {reason}",
        where=plan.name,
        hint="Ask for a shorter --context, a smaller --batch, or a target with more memory.",
    )
