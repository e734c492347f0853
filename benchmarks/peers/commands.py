"""Commands whose failure names what they said."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import AbsentError

LAST_LINES = 4


def run(
    command: Sequence[object],
    log: Path | None = None,
    variables: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> str:
    """Run a command of strings and paths; return its output, or raise `AbsentError`.

    What it says on standard error goes to the end of `log`.
    """
    words = [str(word) for word in command]
    environment = {**os.environ, **(variables or {})}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, env=environment, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AbsentError(f"{words[0]}: {error}") from error
    if log is not None:
        with log.open("a") as file:
            file.write(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}")
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-LAST_LINES:]
        raise AbsentError(f"{Path(words[0]).name} ended with {done.returncode}: {' / '.join(said)}")
    return done.stdout
