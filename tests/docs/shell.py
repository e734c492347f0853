"""Runs the commands of one document in a scratch folder, the daemons it starts included.

A daemon (`make serve`, `ingot serve`) runs in the background on a free port until the next one
starts or the document ends; the port takes the place of 8000 in everything that follows.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import metadata
from pathlib import Path

from .commands import ROOT, Block, commands

BIN = Path(sys.executable).parent
LOAD_SECONDS = 300
END_SECONDS = 60
DUMP = "INGOT_DUMP=dump "


def environment() -> dict[str, str]:
    """The environment of a user who has activated the virtual environment."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return inherited | {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}


def run(command: str, folder: Path, **variables: str) -> str:
    """Run one command with bash; return its standard output, and fail with all that it said."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment() | variables,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LOAD_SECONDS,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Daemon:
    """A command that serves on a port of this machine until SIGTERM."""

    def __init__(self, command: str, folder: Path, port: int, log: Path) -> None:
        self.command, self.port, self._log = command, port, log
        self.dump = log.with_suffix(".dump")
        with log.open("w") as file:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=folder,
                env=environment() | {"INGOT_DUMP": str(self.dump)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._wait_for_health()

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    def stop(self) -> int:
        """Send SIGTERM to the server itself, as make does not pass it on; return the exit code."""
        if self._process.poll() is None:
            for leaf in _leaves(self._process.pid):
                os.kill(leaf, signal.SIGTERM)
        try:
            return self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def _wait_for_health(self) -> None:
        deadline = time.monotonic() + LOAD_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"{self.command}\n{self.output}"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        self.stop()
        raise AssertionError(f"{self.command} does not answer\n{self.output}")


def _leaves(pid: int) -> list[int]:
    """The processes at the ends of the tree under `pid`."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [leaf for child in children for leaf in _leaves(int(child))] or [pid]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Compiled:
    """What a compile left: its artifact, the folder of its stages, and what it printed."""

    artifact: Path
    dump: Path
    output: str


@dataclass
class Compiles:
    """Compiles of built-in models, each done once and linked wherever it is shown again.

    INGOT_DUMP is always set, so that a command that sets it needs no compile of its own.
    """

    folder: Path
    done: dict[tuple[str, ...], Compiled] = field(default_factory=dict)

    def run(self, command: str, folder: Path) -> str:
        """Do what `ingot compile …` does, in `folder`; return what it prints."""
        plain = command.removeprefix(DUMP)
        options, output = _without_output(plain)
        if options not in self.done:
            made = self.folder / str(len(self.done))
            made.mkdir()
            printed = run(plain, made, INGOT_DUMP="dump")
            self.done[options] = Compiled(made / output, made / "dump", printed)
        compiled = self.done[options]
        shutil.rmtree(folder / output, ignore_errors=True)  # as a compile replaces an artifact
        shutil.copytree(compiled.artifact, folder / output, copy_function=os.link)
        if plain != command:
            shutil.copytree(compiled.dump, folder / "dump")
        return compiled.output.replace(str(compiled.artifact), output)

    def note(self, printed: str, dump: Path) -> None:
        """Remember the compile that make has echoed and done."""
        for line in printed.splitlines():
            command = line[line.find("ingot compile ") :]
            if command.startswith("ingot compile "):
                options, output = _without_output(command)
                self.done[options] = Compiled(Path(output), dump, printed)


def _without_output(command: str) -> tuple[tuple[str, ...], str]:
    """Split an `ingot compile` command into its words without `--output`, and the output."""
    words = shlex.split(command)
    place = words.index("--output")
    return (*words[:place], *words[place + 2 :]), words[place + 1]


class Session:
    """One document being run from top to bottom."""

    def __init__(self, folder: Path, compiles: Compiles) -> None:
        self.folder, self._compiles = folder, compiles
        self.daemon: Daemon | None = None
        self._special: dict[str, Callable[[str], str]] = {
            "make test": self._make_test,
            "make serve": self._make_serve,
            "pip install": _pip_install,
            "ingot serve": self._ingot_serve,
            "ingot compile builtin": lambda command: self._compiles.run(command, self.folder),
            f"{DUMP}ingot compile": lambda command: self._compiles.run(command, self.folder),
        }

    def run_block(self, block: Block) -> str:
        """Run a `sh` or `python` block; return what it printed.

        A `python` block whose first line is `# name.py` is also kept as that file.
        """
        if block.language == "python":
            name = re.match(r"# (\w+\.py)\n", block.text)
            script = self.folder / (name[1] if name else "block.py")
            script.write_text(self._with_port(block.text))
            return run(f"python {script.name}", self.folder)
        return "".join(self._run_command(command) for command in commands(block))

    def try_command(self, command: str) -> str:
        """Run a command that may fail, but not with a traceback; return all that it says."""
        output = run(f"{{ {command}; }} 2>&1 || true", self.folder)
        assert "Traceback" not in output, output
        return output

    def end_daemon(self) -> None:
        """End the daemon that is running, if one is; its exit code must be 0."""
        daemon, self.daemon = self.daemon, None
        if daemon is not None:
            code = daemon.stop()
            assert code == 0, f"{daemon.command} ended with {code}\n{daemon.output}"
            assert "Traceback" not in daemon.output, daemon.output

    def _run_command(self, command: str) -> str:
        for start, action in self._special.items():
            if command.startswith(start):
                return action(command)
        return run(self._with_port(command), self.folder)

    def _with_port(self, text: str) -> str:
        return text.replace(":8000", f":{self.daemon.port}") if self.daemon else text

    def _ingot_serve(self, command: str) -> str:
        return self._start(lambda port: f"{command} --port {port}", self.folder)

    def _make_serve(self, command: str) -> str:
        """Serve from the checkout with what is installed, compiling into a scratch folder."""
        artifact = self._compiles.folder / "smollm2-135m-instruct.ingot"
        venv = BIN.parent
        settings = f"VENV={venv} BUILTIN={artifact} --old-file={venv}/.compile"
        output = self._start(lambda port: f"{command} PORT={port} {settings}", ROOT)
        assert self.daemon is not None
        self._compiles.note(output, self.daemon.dump)
        answer = run(printed_curl(output), self.folder)
        assert "Paris" in answer, answer
        return output + answer

    def _make_test(self, command: str) -> str:
        """The suite must not run itself: see what would be done."""
        output = run(f"{command} --dry-run", ROOT)
        assert "python -m pytest" in output.splitlines()[-1], output
        return output

    def _start(self, command: Callable[[int], str], folder: Path) -> str:
        self.end_daemon()
        port = free_port()
        self.daemon = Daemon(command(port), folder, port, self.folder / f"daemon-{port}.log")
        return self.daemon.output


def printed_curl(output: str) -> str:
    """The curl command that a daemon prints when it is ready."""
    lines = output.splitlines()
    [first] = [number for number, line in enumerate(lines) if line.startswith("curl ")]
    return "\n".join(lines[first : first + 2])


def _pip_install(command: str) -> str:
    """What is on no index yet cannot be installed: the extra must be one that we declare."""
    [requirement] = shlex.split(command)[2:]
    name, _, extra = requirement.rstrip("]").partition("[")
    declared = metadata("ingot").get_all("Provides-Extra") or []
    assert name == "ingot" and extra in ["", *declared], requirement
    return ""
