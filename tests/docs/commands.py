"""The commands that a document shows, taken from its fenced code blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, and where it stands (`README.md:12`)."""

    language: str
    text: str
    where: str


def documents() -> list[Path]:
    """Every document of the project, the README first."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path, language: str) -> list[Block]:
    """The fenced blocks of `document` in `language`, in order."""
    text = document.read_text()
    name = document.relative_to(ROOT)
    return [
        Block(match[1], match[2], f"{name}:{text[: match.start()].count(chr(10)) + 1}")
        for match in FENCE.finditer(text)
        if match[1] == language
    ]
