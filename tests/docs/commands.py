"""The commands that a document shows, taken from its fenced code blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, and where it stands (`README.md:12`)."""

    language: str
    text: str
    where: str


def documents() -> list[Path]:
    """Every document of the project, the README first."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of `document`, in order."""
    text = document.read_text()
    name = document.relative_to(ROOT)
    return [
        Block(match[1], match[2], f"{name}:{text[: match.start()].count(chr(10)) + 1}")
        for match in FENCE.finditer(text)
    ]


def commands(block: Block) -> list[str]:
    """The commands of a `sh` block, one a line, lines that end in a backslash joined."""
    joined = block.text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


def dialogue(block: Block) -> list[tuple[str, str]]:
    """The commands of a `console` block, each with the lines that follow it."""
    parts = re.split(r"^\$ (.*)$", block.text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def relative_links(document: Path) -> list[str]:
    """The targets of the links of `document` that lead to files."""
    text = FENCE.sub("", document.read_text())
    return [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]
