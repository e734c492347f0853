"""Ingot beside other runtimes for the CPU, on this machine: every figure in one interleaved run.

    python benchmarks/cpu_peers.py [--models …] [--widths …] [--parts …] [--rounds N]

From nothing, it makes the runtimes' environments, random checkpoints at published configurations
and each runtime's form of them, which takes an hour or two once; the measurement itself takes about
two hours.  Whatever is there already is used, and a run that was interrupted continues.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from peers.commands import run
from peers.convert import Conversions
from peers.environments import Environments
from peers.errors import AbsentError
from peers.facts import facts_of
from peers.forms import FORMS, WIDTHS, Form
from peers.machine import Probe, describe
from peers.models import MODELS
from peers.parts import CAPACITY, GROUPS, Part, in_groups
from peers.report import Report, read_report
from peers.result import Facts, ModelResult
from peers.runners import BENCHMARKS, Runners
from peers.session import Session
from peers.store import Absence, Store

DEFAULT_MODELS = ("qwen2.5-0.5b", "llama-3.2-1b")


def main() -> None:
    """Prepare, measure, print and keep the result."""
    options = parse()
    if options.show is not None:
        print(read_report(options.show).as_markdown())
        return
    forms = chosen_forms(options)
    parts = in_groups(options.parts)
    if options.list:
        print_plan(options, forms, parts)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    environments = Environments(options.environments.resolve())
    store = Store(options.folder / f"{options.name}.jsonl")
    prepared = {name: prepare(name, forms, environments, options, store) for name in options.models}
    if options.prepare:
        return
    probe = Probe(options.threads)
    runners = Runners(environments, options.threads, CAPACITY)
    for name, conversions in prepared.items():
        session = Session(name, conversions, runners, probe, store, say)
        try:
            session.run(parts, forms, options.rounds)
        finally:
            session.close()
    keep(report(prepared, forms, options, store), options, environments)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    cores = len(os.sched_getaffinity(0))
    add = parser.add_argument
    add("--models", type=some_of(MODELS), default=DEFAULT_MODELS, help=", ".join(MODELS))
    add("--widths", type=some_of(WIDTHS), default=WIDTHS, help=", ".join(WIDTHS))
    add("--parts", type=some_of(GROUPS), default=GROUPS, help=", ".join(GROUPS))
    add("--forms", type=words, default=(), help="only forms whose names begin so: ingot,ort")
    add("--rounds", type=int, default=5, help="default: 5")
    add("--threads", type=int, default=cores, help="of every runtime; default: all cores")
    add("--folder", type=Path, default=Path("build/bench"), help="for models and measurements")
    add("--environments", type=Path, default=Path("build/peers"), help="for the runtimes")
    add("--name", default=f"{datetime.now(UTC):%Y-%m-%d}", help="of the result; default: the date")
    add("--results", type=Path, default=BENCHMARKS / "results", help="for the result")
    add("--recompile", action="store_true", help="compile Ingot's forms anew, timed")
    add("--prepare", action="store_true", help="stop before the measurement")
    add("--list", action="store_true", help="print what would be measured, and stop")
    add("--show", type=Path, help="print the tables of a result")
    return parser.parse_args()


def words(text: str) -> tuple[str, ...]:
    """Split at commas."""
    return tuple(text.split(","))


def some_of(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of a list of known names."""

    def parse_names(text: str) -> tuple[str, ...]:
        names = words(text)
        unknown = [name for name in names if name not in known]
        if unknown:
            expected = ", ".join(known)
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: expected some of {expected}")
        return names

    return parse_names


def chosen_forms(options: argparse.Namespace) -> list[Form]:
    """Return the forms of the chosen widths and names."""
    return [
        form
        for form in FORMS
        if form.width in options.widths
        and (not options.forms or form.name.startswith(options.forms))
    ]


def print_plan(options: argparse.Namespace, forms: Sequence[Form], parts: Sequence[Part]) -> None:
    """Print what would be measured."""
    for name in options.models:
        for part in parts:
            names = [form.name for form in forms if part.takes(form)]
            rounds = min(options.rounds, part.rounds)
            print(f"{name:14} {part.name:13} {rounds} rounds of {', '.join(names) or 'nothing'}")


def say(text: str) -> None:
    """Print a line at once, with the time."""
    print(f"{datetime.now():%H:%M:%S} {text}", flush=True)


def prepare(
    name: str,
    forms: Sequence[Form],
    environments: Environments,
    options: argparse.Namespace,
    store: Store,
) -> Conversions:
    """Make the checkpoint and its forms; what cannot be made is noted."""
    folder = (options.folder / name).resolve()
    checkpoint = folder / "checkpoint"
    if not (checkpoint / "tokenizer_config.json").exists():
        say(f"{name}: writing a random checkpoint")
        writer = [sys.executable, "-m", "peers.checkpoints", name, checkpoint]
        run(writer, variables={"PYTHONPATH": str(BENCHMARKS)})
    conversions = Conversions(folder, checkpoint, environments, options.threads)
    for form in forms:
        if options.recompile and form.peer == "ingot":
            conversions.forget(form)
        try:
            if not (folder / form.file).exists():
                say(f"{name}: making {form.file}")
            conversions.path(form)
        except AbsentError as error:
            say(f"{name}: {form.name} is absent: {error}")
            store.note(Absence(name, "", form.name, str(error)))
    return conversions


def report(
    prepared: dict[str, Conversions],
    forms: Sequence[Form],
    options: argparse.Namespace,
    store: Store,
) -> Report:
    """Put together what the store holds of the chosen models."""
    results = []
    for name, conversions in prepared.items():
        model = MODELS[name]
        facts: dict[str, Facts] = {}
        for form in forms:
            found = facts_of(form, model, conversions)
            if found is not None:
                facts[form.name] = found
        records = [record for record in store.records if record.model == name]
        results.append(ModelResult(model, records, facts, conversions.seconds()))
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    return Report(date, describe(), options.threads, results, store.absences)


def keep(found: Report, options: argparse.Namespace, environments: Environments) -> None:
    """Print the tables and write the result, its tables and its plot beside each other."""
    text = found.as_markdown()
    print(text)
    stem = options.results / f"cpu_peers-{options.name}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    result = stem.with_suffix(".json")
    result.write_text(found.as_json())
    stem.with_suffix(".md").write_text(text)
    try:
        plots = [environments.python("plots"), "-m", "peers.plots", result]
        run([*plots, stem.with_suffix(".svg")], variables={"PYTHONPATH": str(BENCHMARKS)})
    except AbsentError as error:
        say(f"no plot: {error}")


if __name__ == "__main__":
    main()
