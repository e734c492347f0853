"""What the documents show works: commands and programs run, links lead somewhere, options exist."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot import knobs
from ingot.compiler.cli.main import find_commands
from ingot.ir import all_operations, known_encodings
from ingot.passes import all_passes
from ingot.runtime.server import Metrics

from .commands import ROOT, blocks, dialogue, documents, relative_links
from .shell import Compiles, Session, environment, run

OF_THE_MACHINE = re.compile(r"generic|avx2|avx512|\d[\d.,]*")
USER_DOCUMENTS = [
    ROOT / "README.md",
    *(
        ROOT / "docs" / name
        for name in ("compiling.md", "inspecting.md", "planning.md", "serving.md", "targets.md")
    ),
]


@pytest.fixture(scope="session")
def compiles(tmp_path_factory: pytest.TempPathFactory) -> Compiles:
    return Compiles(tmp_path_factory.mktemp("compiles"))


@pytest.fixture
def session(tmp_path: Path, compiles: Compiles) -> Iterator[Session]:
    made = Session(tmp_path, compiles)
    yield made
    if made.daemon is not None:
        made.daemon.stop()


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_every_block_runs(document: Path, session: Session) -> None:
    """In order, in one folder.

    A `text` block after a `sh` block shows what that prints; a `console` block has commands after
    `$`, which may fail, and what they say.
    """
    printed = ""
    for block in blocks(document):
        if block.language == "text":
            missing = shown(block.text) - shown(printed) if printed else set()
            assert not missing, f"{block.where}: {missing} is not in\n{printed}"
        if block.language == "console":
            for command, expected in dialogue(block):
                said = session.try_command(command)
                assert shown(expected) <= shown(said), f"{block.where}: {command}\n{said}"
        printed = session.run_block(block) if block.language in ("sh", "python") else ""
    session.end_daemon()


def shown(text: str) -> set[str]:
    """The lines of an output without spacing, and without what differs between machines."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return {OF_THE_MACHINE.sub("#", line) for line in lines if line}


def test_a_text_block_that_is_not_printed_is_found() -> None:
    assert shown("a 1.5 MB\nb") - shown("a 27 MB") == {"b"}


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    """But those to pages that the build of the site generates; the build itself checks those."""
    for link in relative_links(document):
        if link.startswith("reference/"):
            continue
        path = (document.parent / link.partition("#")[0]).resolve()
        assert path.exists() and path.is_relative_to(ROOT), f"{document.name}: {link}"


@pytest.mark.parametrize("command", find_commands())
def test_every_option_is_documented(command: str) -> None:
    text = "\n".join(document.read_text() for document in USER_DOCUMENTS)
    done = subprocess.run(
        ["ingot", command, "--help"], env=environment(), capture_output=True, text=True, check=True
    )
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", done.stdout)) - {"--help"}
    assert f"ingot {command}" in text and (options or command == "inspect")
    unknown = {option for option in options if not re.search(rf"{option}(?![\w-])", text)}
    assert not unknown, f"ingot {command}: {unknown} stands in no document"


def test_every_environment_variable_is_documented() -> None:
    text = (ROOT / "docs" / "compiling.md").read_text()
    names = {knob.name for knob in vars(knobs).values() if isinstance(knob, knobs.Knob)}
    assert names == set(re.findall(r"INGOT_[A-Z_]+", text))


def test_every_metric_that_is_documented_exists() -> None:
    """And every one that exists is documented."""
    text = (ROOT / "docs" / "serving.md").read_text()
    families = re.findall(r"^# TYPE (\w+) \w+$", Metrics("m").text().decode(), re.MULTILINE)
    served = {name for name in families if not name.endswith("_created")}
    assert served == set(re.findall(r"`(ingot_\w+)`", text))


def test_the_documentation_builds(tmp_path: Path) -> None:
    """With the reference that is written from the code: nothing that exists is missing there."""
    run(f"mkdocs build --strict --quiet --site-dir {tmp_path}", ROOT)
    assert {"index.html", "compiling", "serving", "architecture"} <= {
        path.name for path in tmp_path.iterdir()
    }
    expected = {
        "operations": all_operations(),
        "types": known_encodings(),
        "passes": all_passes(),
        "commands": [f"ingot {name}" for name in find_commands()],
    }
    for page, names in expected.items():
        text = (tmp_path / "reference" / page / "index.html").read_text()
        missing = [name for name in names if name not in text]
        assert not missing, f"{page}: {missing}"
