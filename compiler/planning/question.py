"""A question that a plan answers: a model, a target, and what is asked of them in numbers."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ingot.errors import IngotError
from ingot.ir import Module
from ingot.passes import Pass, Pipeline, parse_pipeline
from ingot.targets import Hardware, KvDtype, ModelFacts, Settings, Target

from .branching import branches, in_common
from .meshes import meshes_of
from .pricing import Workload
from .request import CHUNK, Configuration, Request, encoded

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: unknown)."""

ALONE = "tp1"
"""The mesh of one device, for targets whose default has more."""


@dataclass(frozen=True)
class Question:
    """A model, a target and what is asked of them; `module` is the model as imported."""

    module: Module
    facts: ModelFacts
    target: Target
    hardware: Hardware
    settings: Settings
    request: Request
    devices: int
    encodings: tuple[str, ...]
    kv_dtypes: tuple[KvDtype, ...]

    @property
    def load(self) -> Workload:
        """What the devices are to do."""
        asked = self.request
        chunk = max(self.settings.prefill_tokens, default=CHUNK)
        return Workload(asked.batch, asked.context, asked.prompt, min(chunk, asked.prompt))

    def alone(self, encoding: str) -> Pipeline:
        """Return the passes of a compile for one device."""
        settings = replace(self.settings, mesh=ALONE, sequence_parallel=False)
        return parse_pipeline(self.target.pipeline(encoded(settings, encoding)))

    def divided(self, configuration: Configuration) -> Pipeline:
        """Return the passes of a compile for a configuration."""
        return parse_pipeline(self.target.pipeline(configuration.settings(self.settings)))


@dataclass(frozen=True)
class Begun:
    """A module after the passes that all configurations begin with, and how many those are."""

    module: Module
    passes: int

    @classmethod
    def of(cls, question: Question, watch: Callable[[Pass], None]) -> "Begun":
        """Run the passes that are common; raise the error of one that refuses the model."""
        pipelines = [question.alone(encoding) for encoding in question.encodings]
        pipelines += [
            question.divided(Configuration(mesh, encoding, question.kv_dtypes[0]))
            for encoding in question.encodings
            for mesh in meshes_of(question.devices)
        ]
        common = in_common(pipelines)
        [(_, module)] = branches(question.module, {"": common}, watch)
        if isinstance(module, IngotError):
            raise module
        return cls(module, len(common.passes))

    def rest(self, pipeline: Pipeline) -> Pipeline:
        """Return the passes of a pipeline that are still to be run."""
        return Pipeline(pipeline.passes[self.passes :])


def label(configuration: Configuration) -> str:
    """Return what a configuration is called while it is worked on."""
    return f"{configuration.mesh} {configuration.encoding} {configuration.kv_dtype}"
