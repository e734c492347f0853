"""The worker from the outside: starts it, asks it, and turns its end into an error."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .failures import death

# -P: the folder of the worker is not one to import from.
COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("worker.py")))

_QUIET = {
    # Google's metadata server is asked for what is there; nothing is, and the answer can hang.
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    # libtpu lets one process of a machine have it, for the sake of chips; none is touched here.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclass(frozen=True)
class Reply:
    """What a worker answered: facts, the executable and the packed text of the program."""

    facts: Mapping[str, Any]
    executable: bytes
    hlo: bytes


class WorkerProcess:
    """A running worker; what it and the compilers write goes to a log that nobody need see."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ingot-xla-")
        self._log = Path(self._folder.name) / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **_QUIET, "TPU_LOG_DIR": self._folder.name},
            )

    def ask(self, request: Mapping[str, Any], program: bytes, where: str) -> Reply:
        """Send a request and wait for its reply; raise `CompileError` if the worker ends instead.

        A worker that has ended answers no more: the caller starts another.
        """
        header = json.dumps({**request, "program_bytes": len(program)}).encode() + b"\n"
        try:
            self._input.write(header + program)
            self._input.flush()
            line = self._output.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            status = self._process.wait()
            log = self._log.read_text(errors="replace")
            self.close()
            raise death(status, log, where)
        facts = json.loads(line)
        executable = self._output.read(facts.pop("executable_bytes"))
        return Reply(facts, executable, self._output.read(facts.pop("hlo_bytes")))

    def close(self) -> None:
        """End the worker, in the middle of a request too."""
        self._process.kill()
        self._process.wait()
        self._input.close()
        self._output.close()
        self._folder.cleanup()

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout
