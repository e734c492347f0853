"""Looking inside a pipeline: what to print, time, save and verify, for every command alike."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TextIO

from torch import Tensor

from ingot.errors import UsageError
from ingot.ir import Graph, Module, QuantTensor, layer_graph, layers_of, readable
from ingot.models import open_checkpoint
from ingot.passes import (
    Callback,
    Check,
    Pass,
    Phase,
    Pipeline,
    Sample,
    random_sample,
    random_weights,
    verifying,
    vocabulary_of,
)

from .counting import measure_module
from .difference import difference
from .dump import Dump
from .pass_tables import format_checks, format_times
from .records import CheckRecord, Counts, Measures, PassRecord

Emit = Literal["readable", "generic", "bytecode"]
ALL = "all"


@dataclass(frozen=True)
class Inspection:
    """What a user wants to see of the passes.

    `print_before` and `print_after` name passes, or say `all`; `changes` prints what each pass
    changed as a difference.  `stages` is a folder for numbered files, `stop_after` a pass or stage.
    `locations` adds to what is printed where it comes from; `generic` prints MLIR's own form.
    `debug` is the level of `INGOT_DEBUG`, which adds to all that.  `report` says that costs are
    measured and a layer is kept as it was before the passes.
    """

    print_before: tuple[str, ...] = ()
    print_after: tuple[str, ...] = ()
    changes: bool = False
    stages: Path | None = None
    time: bool = False
    stop_after: str = ""
    verify: bool = False
    locations: bool = False
    generic: bool = False
    debug: int = 0
    report: bool = False

    def at_level(self) -> "Inspection":
        """Return this with what `debug` adds: 1 times, 2 counts, 3 changes, 4 modules, 5 all."""
        return replace(
            self,
            time=self.time or self.debug >= 1,
            changes=self.changes or self.debug >= 3,
            print_after=(ALL,) if self.debug >= 4 else self.print_after,
            locations=self.locations or self.debug >= 5,
            generic=self.generic or self.debug >= 5,
        )


class Inspector:
    """Watches the passes of one pipeline as an `Inspection` says; `callback` is for the pipeline.

    What is printed goes to `out`.  `records` and `checks` hold what was measured,
    `layer` a layer as it was when it had been raised.
    """

    def __init__(self, inspection: Inspection, out: TextIO | None = None) -> None:
        self._wanted = inspection.at_level()
        self._out = out or sys.stderr
        self.dump = Dump(self._wanted.stages)
        self.records: list[PassRecord] = []
        self.checks: list[CheckRecord] = []
        self._verify: Callback | None = None
        self._text = ""
        self._measures = Measures({})
        self._seen: Module | None = None
        self.layer: Graph | None = None
        self._start = 0.0

    def verify_with(self, weights: Mapping[str, Tensor | QuantTensor], sample: Sample) -> None:
        """Hold every pass to its contract on these weights, if that is wanted."""
        if self._wanted.verify:
            self._verify = verifying(weights, sample, self._note)

    def callback(self, one: Pass, module: Module, phase: Phase) -> None:
        """See a module before or after a pass."""
        if phase == "before":
            self._before(one, module)
        else:
            self._after(one, module)

    def _note(self, check: Check) -> None:
        contract = check.contract
        self.checks.append(
            CheckRecord(check.step, str(contract), contract.metric, check.error, contract.tolerance)
        )

    def close(self) -> None:
        """Print what is known at the end: times, and that all contracts were kept."""
        if self._wanted.time:
            self._print("seconds of the passes", format_times(self.records))
        if self.checks:
            self._print("contracts of the passes, all kept", format_checks(self.checks))

    def _before(self, one: Pass, module: Module) -> None:
        if _names(self._wanted.print_before, one):
            self._print(f"before {one}", self._rendered(module))
        if self._wanted.changes:
            self._text = self._rendered(module)
        if module is not self._seen:
            self._measures = measure_module(module, self._wanted.report)
        self._keep_layer(module)
        if self._verify is not None:
            self._verify(one, module, "before")
        self._start = time.monotonic()

    def _after(self, one: Pass, module: Module) -> None:
        seconds = time.monotonic() - self._start
        measures = measure_module(module, self._wanted.report)
        contract = str(one.promise())
        self.records.append(PassRecord(str(one), contract, seconds, self._measures, measures))
        self.dump.write(one.name(), module)
        if self._wanted.debug >= 2:
            self._print(f"{one}: {seconds:.3f} s", _changed(self._measures.ops, measures.ops))
        if self._wanted.changes:
            changed = difference(self._text, self._rendered(module), str(one))
            self._print(f"changed by {one}" if changed else f"nothing changed by {one}", changed)
        if _names(self._wanted.print_after, one):
            self._print(f"after {one}", self._rendered(module))
        if self._verify is not None:
            self._verify(one, module, "after")
        # Nothing happens to a module between two passes: the next need not measure it again.
        self._measures, self._seen = measures, module

    def _keep_layer(self, module: Module) -> None:
        """Keep a layer as it is when no linear is left in torch: before the other passes."""
        raised = "torch.aten.linear" not in self._measures.ops
        if self._wanted.report and raised and self.layer is None:
            layers = layers_of(module)
            self.layer = layer_graph(module, layers[(len(layers) - 1) // 2]) if layers else None

    def _rendered(self, module: Module) -> str:
        if self._wanted.generic:
            return module.text(locations=self._wanted.locations)
        return readable(module, locations=self._wanted.locations)

    def _print(self, title: str, text: str) -> None:
        clear = "\r\x1b[K" if self._out.isatty() else ""  # of a line that shows the progress
        print(f"{clear}// ---- {title} ----\n{text}", file=self._out, flush=True)


def weights_for(module: Module, checkpoint: str | None) -> Mapping[str, Tensor | QuantTensor]:
    """Return the weights of a checkpoint, read one at a time; random ones where none is given."""
    return random_weights(module) if checkpoint is None else open_checkpoint(checkpoint).weights


def sample_for(module: Module) -> Sample:
    """Return steps of random tokens that a module takes."""
    return random_sample(vocabulary_of(module))


def check_names(inspection: Inspection, pipeline: Pipeline, stages: tuple[str, ...] = ()) -> None:
    """Raise `UsageError` for a pass to print or to stop after that the pipeline does not have."""
    passes = {one.name() for one in pipeline.passes}
    for option, names, known in (
        ("--print-before", inspection.print_before, passes),
        ("--print-after", inspection.print_after, passes),
        ("--stop-after", (inspection.stop_after,), passes | set(stages)),
    ):
        for name in names:
            if name not in ("", ALL, *known):
                raise UsageError(
                    f"{option}: the pipeline has no pass {name!r}",
                    hint=f"Give one of {', '.join(sorted(known))}.",
                )


def cut(pipeline: Pipeline, stop_after: str) -> Pipeline:
    """Return the passes up to the first that is called `stop_after`; all where there is none."""
    names = [one.name() for one in pipeline.passes]
    if stop_after not in names:
        return pipeline
    return Pipeline(pipeline.passes[: names.index(stop_after) + 1])


def _names(wanted: tuple[str, ...], one: Pass) -> bool:
    return ALL in wanted or one.name() in wanted


def _changed(before: Counts, after: Counts) -> str:
    """Return a line for each operation whose number changed."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return "".join(
        f"  {name}: {before.get(name, 0)} -> {after.get(name, 0)}\n" for name in sorted(names)
    )
