"""Reads the tokenizer and the chat template of a Hugging Face folder."""

from pathlib import Path
from typing import Any

import transformers

from ingot.errors import UnsupportedError

OLDER_FORMS = ("tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")


def read_tokenizer(folder: Path) -> bytes | None:
    """Return `tokenizer.json`, converted from an older form where need be; None without any.

    Raises UnsupportedError for an older form that transformers cannot convert here.
    """
    file = folder / "tokenizer.json"
    if file.is_file():
        return file.read_bytes()
    older = next((name for name in OLDER_FORMS if (folder / name).is_file()), None)
    if older is None:
        return None
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return str(tokenizer.backend_tokenizer.to_str()).encode("utf-8")
    except (ValueError, TypeError, ImportError, AttributeError, OSError) as error:
        raise UnsupportedError(
            f"there is no tokenizer.json, and this older form cannot be converted: {error}",
            where=str(folder / older),
            hint="Load the tokenizer with transformers where it works and call save_pretrained.",
        ) from error


def chat_template(folder: Path, tokenizer_config: dict[str, Any]) -> str | None:
    """Return the template; of several named ones, the one called default, else the first."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = tokenizer_config.get("chat_template")
    if isinstance(template, list):
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get("default", next(iter(named.values()), None))
    return template if isinstance(template, str) else None
