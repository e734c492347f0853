"""Writes the reference pages from the code, whenever mkdocs builds the site.

mkdocs loads this file as a hook.  Nothing of what it writes stands in the tree: an operation, a
pass, an encoding or an option of the command line is documented by its own docstring and help.
"""

import argparse
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from ingot import knobs
from ingot.compiler.cli.main import find_commands
from ingot.ir import ACTIVATION, BatchType, Encoding, Op, Quant, all_operations, known_encodings
from ingot.passes import Pass, all_passes, options_of, pipelines
from ingot.targets import Settings, find_target, target_names


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of the folder."""
    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def pages() -> Mapping[str, str]:
    """Return the text of every generated page, by its name below `reference/`."""
    return {
        "operations": "\n".join(_operations()),
        "types": "\n".join(_types()),
        "passes": "\n".join(_passes()),
        "commands": "\n".join(_commands()),
    }


def _operations() -> Iterator[str]:
    yield "# Operations\n"
    yield "Every operation of the `lm` dialect.  T is the number of tokens of a step.\n"
    for name, kind in sorted(all_operations().items()):
        yield f"## {name}\n"
        yield f"{_prose(kind)}\n"
        yield from _fields_of(kind)


def _fields_of(kind: type[Op]) -> Iterator[str]:
    """Give the table of operands, attributes and results of an operation."""
    yield "| field | is | type |"
    yield "|---|---|---|"
    for field, annotation in inspect.get_annotations(kind).items():
        text = getattr(annotation, "__name__", str(annotation))
        if text == "OpResult":
            yield f"| `{field}` | result | value{', or rounded' if kind.can_round else ''} |"
        elif text == "Value" or "Value" in str(annotation):
            yield f"| `{field}` | {'optional ' if get_args(annotation) else ''}operand | value |"
        else:
            yield f"| `{field}` | attribute | {text} |"
    yield ""
    if not kind.pure:
        yield "It changes the state of its sequence: never removed, never merged.\n"


def _types() -> Iterator[str]:
    yield "# Types and encodings\n"
    for kind in (Quant, BatchType):
        yield f"{_prose(kind)}\n"
    yield "## Encodings\n"
    yield "| encoding | bits | elements that share a scale | scale | beside it | bits per weight |"
    yield "|---|---|---|---|---|---|"
    for name in known_encodings():
        encoding = Encoding.parse(name)
        group = encoding.group or "a row"
        rate = "-" if encoding == ACTIVATION else f"{encoding.bits_per_weight:g}"
        offset = encoding.offset.value
        yield (
            f"| `{name}` | {encoding.bits} | {group} | float{encoding.scale_bits} "
            f"| {offset if offset != 'none' else '-'} | {rate} |"
        )


def _passes() -> Iterator[str]:
    yield "# Passes\n"
    for name, kind in all_passes().items():
        yield f"## {name}\n"
        yield f"{_prose(kind)}\n"
        yield f"Contract: `{kind.contract}`.\n"
        yield from _options_of(kind)
    yield "# Named pipelines\n"
    for name, pipeline in pipelines().items():
        yield f"## {name}\n"
        yield f"{pipeline.description}\n"
        yield f"    {pipeline.text}\n"
    yield "# Pipelines of the targets\n"
    for name in target_names():
        yield f"## {name}\n"
        yield f"{find_target(name).description}\n"
        yield f"    {find_target(name).pipeline(Settings())}\n"


def _options_of(kind: type[Pass]) -> Iterator[str]:
    options = options_of(kind)
    if not options:
        return
    yield "| option | takes | default | meaning |"
    yield "|---|---|---|---|"
    for option in options:
        meaning = option.help.replace("|", "\\|")
        yield f"| `{option.flag}` | {option.values} | `{option.default!r}` | {meaning} |"
    yield ""


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    for name, purpose in find_commands().items():
        yield f"## ingot {name}\n"
        yield f"{purpose[0].upper()}{purpose[1:]}.\n"
        parser = argparse.ArgumentParser(prog=f"ingot {name}", add_help=False)
        importlib.import_module(f"ingot.compiler.cli.{name.replace('-', '_')}").add_arguments(
            parser
        )
        yield "| argument | meaning |"
        yield "|---|---|"
        for action in parser._actions:
            yield f"| `{_spelling(action)}` | {_help_of(action, parser)} |"
        yield ""
    yield "# Environment variables\n"
    yield "| variable | meaning |"
    yield "|---|---|"
    for knob in vars(knobs).values():
        if isinstance(knob, knobs.Knob):
            yield f"| `{knob.name}` | {knob.help} |"


def _spelling(action: argparse.Action) -> str:
    """Return how an argument is written, its placeholder included."""
    placeholder = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
    if not action.option_strings:
        return str(placeholder)
    return f"{', '.join(action.option_strings)} {placeholder}".strip()


def _help_of(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    values = {**vars(action), "prog": parser.prog}
    text = (action.help or "") % values
    if action.choices is not None:
        text += f" ({', '.join(map(str, action.choices))})"
    return text.replace("|", "\\|")


def _prose(kind: Any) -> str:
    """Return a docstring as Markdown: angle brackets outside code are no tags."""
    parts = re.split(r"(`[^`]*`)", inspect.getdoc(kind) or "")
    return "".join(p if p.startswith("`") else p.replace("<", "&lt;") for p in parts)
