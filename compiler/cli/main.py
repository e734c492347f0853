"""The entry point: find the subcommand, run it, turn errors into one message and an exit code.

A subcommand is a module of this folder that defines `HELP` (a literal string),
`add_arguments(parser)` and `run(arguments) -> exit code`.  Only the module of the chosen one is
imported; the help of the others is read from their source.
"""

import argparse
import ast
import importlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from ingot import __version__
from ingot.errors import IngotError

INTERRUPTED = 130
"""The exit code that shells give a command ended by Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        return _run(words)
    except IngotError as error:
        print(f"ingot: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left: end quietly, and let the final flush go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def find_commands(folder: Path = Path(__file__).parent) -> dict[str, str]:
    """Return the subcommands of `folder`, by name, with their help."""
    found = ((path.stem.replace("_", "-"), _help_of(path)) for path in sorted(folder.glob("*.py")))
    return {name: text for name, text in found if text is not None}


def _help_of_command(name: str) -> str | None:
    """The help of one subcommand; reading those of all takes longer than starting."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        return None
    return _help_of(Path(__file__).with_name(f"{name.replace('-', '_')}.py"))


def _help_of(path: Path) -> str | None:
    """The help of the subcommand in the file at `path`, or None where it holds none."""
    if not path.is_file():
        return None
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        match statement:
            case ast.Assign([ast.Name("HELP")], ast.Constant(str(text))):
                return text
    return None


def _run(words: Sequence[str]) -> int:
    name = words[0] if words else ""
    text = _help_of_command(name)
    if text is None:
        _overview(find_commands()).parse_args(words)  # ends the process: help, version or an error
        raise AssertionError(name)
    module = _load(name)
    parser = argparse.ArgumentParser(prog=f"ingot {name}", description=_sentence(text))
    module.add_arguments(parser)
    try:
        # Intermixed: an optional argument may stand behind options, `ingot run X --raw "text"`.
        code = module.run(parser.parse_intermixed_args(words[1:]))
    except ModuleNotFoundError as error:
        raise _missing_extra(name, error) from error
    assert isinstance(code, int)
    sys.stdout.flush()
    return code


def _overview(commands: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the parser of a command line without a subcommand."""
    parser = argparse.ArgumentParser(
        prog="ingot", description="Compile language models into artifacts, run and serve them."
    )
    parser.add_argument("--version", action="version", version=f"ingot {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, text in commands.items():
        subparsers.add_parser(name, help=text, description=_sentence(text))
    return parser


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(f".{name.replace('-', '_')}", __package__)
    except ModuleNotFoundError as error:
        raise _missing_extra(name, error) from error


def _missing_extra(command: str, error: ModuleNotFoundError) -> Exception:
    """What to tell the user, if it is a package of the extra `compile` that is missing."""
    missing = (error.name or "").partition(".")[0]
    if missing not in _compile_packages():
        return error
    return IngotError(
        f"ingot {command} needs the compiler, and {missing} is not installed",
        hint="Run: pip install 'ingot[compile]'",
    )


def _compile_packages() -> set[str]:
    """The import names of the packages that the extra `compile` adds."""
    from importlib import metadata  # 25 ms that only this message needs

    requirements = metadata.requires("ingot") or []
    names = [
        re.match(r"[\w.-]+", line)
        for line in requirements
        if re.search(r"extra\s*==\s*['\"]compile['\"]", line)
    ]
    return {name[0].replace("-", "_") for name in names if name}


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


if __name__ == "__main__":
    sys.exit(main())
