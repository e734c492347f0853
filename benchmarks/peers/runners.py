"""One runtime with one model, ready to be measured: in a worker, or by llama.cpp's programs."""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .commands import run
from .environments import Environments
from .errors import AbsentError
from .forms import Form
from .protocol import Generated

BENCHMARKS = Path(__file__).resolve().parents[1]
SECONDS = 600
END_SECONDS = 10
START_TOKENS = 16
START_TEXT = "1234567890123456"
"""As many tokens, one a digit."""


@dataclass(frozen=True)
class Load:
    """Sequences with prompts of `prompt` tokens each, and `new` tokens decoded after each."""

    sequences: int
    prompt: int
    new: int

    @property
    def tokens(self) -> int:
        """What the KV cache has to hold."""
        return self.sequences * (self.prompt + self.new)


class Runner(Protocol):
    """A runtime with a model."""

    def generate(self, load: Load, seed: int) -> Generated:
        """Decode greedily after random prompts."""

    def start(self) -> float:
        """Return seconds from the start of a process to the first token of a short prompt."""

    def peak(self, load: Load) -> int:
        """Return the most bytes that were resident in a process that did just this."""

    def close(self) -> None:
        """End what is running."""


class Worker:
    """A process that answers requests, in another environment."""

    def __init__(self, python: Path, module: str, variables: Mapping[str, str]) -> None:
        environment = {**os.environ, **variables, "PYTHONPATH": str(BENCHMARKS)}
        self._process = subprocess.Popen(
            [python, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def ask(self, do: str, **values: Any) -> Any:
        """Return the answer to a request; `AbsentError` where the worker fails or is silent."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": do, **values}) + "\n")
            process.stdin.flush()
        except BrokenPipeError as error:
            raise AbsentError(f"the worker ended before it was asked to {do}") from error
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            raise AbsentError(f"the worker gave no answer to {do}")
        answer = json.loads(line)
        if "error" in answer:
            raise AbsentError(answer["error"])
        return answer["value"]

    def peak(self) -> int:
        """Return the most bytes that were resident so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        [kilobytes] = [line.split()[1] for line in status.splitlines() if "VmHWM" in line]
        return int(kilobytes) * 1024

    def close(self) -> None:
        """End the process."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


REST_SECONDS = 3.0
"""After the first request: some runtimes then still move weights in the background."""
OTHER_PROMPTS = 1 << 40
"""Added to a seed, it gives prompts that no measurement uses."""


@dataclass
class WorkerRunner:
    """A model in a worker that stays loaded, and fresh workers for starts and memory."""

    python: Path
    module: str
    model: Path
    threads: int
    tokens: int
    variables: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    _worker: Worker | None = None
    _seen: set[Load] = field(default_factory=set)

    def generate(self, load: Load, seed: int) -> Generated:
        """Answer from the loaded model; a load that it has not seen is run once before."""
        if self._worker is None:
            self._worker = self._open(self.tokens)
        if load not in self._seen:
            warm_up = Load(load.sequences, load.prompt, 4)
            self._ask(self._worker, warm_up, seed + OTHER_PROMPTS)
            if not self._seen:
                time.sleep(REST_SECONDS)
            self._seen.add(load)
        return self._ask(self._worker, load, seed)

    def start(self) -> float:
        """Time a fresh process."""
        begin = time.perf_counter()
        with contextlib.closing(self._open(START_TOKENS * 4)) as worker:
            self._ask(worker, Load(1, START_TOKENS, 1), 0)
            return time.perf_counter() - begin

    def peak(self, load: Load) -> int:
        """Look at a fresh process."""
        with contextlib.closing(self._open(load.tokens)) as worker:
            self._ask(worker, load, 0)
            return worker.peak()

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None
        self._seen.clear()

    def _open(self, tokens: int) -> Worker:
        worker = Worker(self.python, self.module, self.variables)
        model = {"model": str(self.model), "threads": self.threads, "tokens": tokens}
        try:
            worker.ask("load", **model, **self.options)
        except AbsentError:
            worker.close()
            raise
        return worker

    @staticmethod
    def _ask(worker: Worker, load: Load, seed: int) -> Generated:
        values = {"sequences": load.sequences, "prompt": load.prompt, "new": load.new}
        answer: Generated = worker.ask("generate", **values, seed=seed)
        return answer


@dataclass(frozen=True)
class LlamaRunner:
    """llama.cpp's own programs, each run a process."""

    bench: Path
    completion: Path
    model: Path
    threads: int
    options: Sequence[str]

    def generate(self, load: Load, seed: int) -> Generated:
        """Take the times that `llama-batched-bench` prints."""
        return parse_batched_bench(run(self._bench(load), seconds=SECONDS))

    def start(self) -> float:
        """Time to the first text that `llama-completion` prints."""
        short = ["-n", "1", "-c", "64", "--no-warmup", "-no-cnv", "--no-display-prompt"]
        command = [self.completion, *self._common(), "-p", START_TEXT, *short]
        begin = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        process.stdout.read(1)
        seconds = time.perf_counter() - begin
        process.stdout.read()
        if process.wait():
            raise AbsentError(f"llama-completion ended with {process.returncode}")
        return seconds

    def peak(self, load: Load) -> int:
        """Look at a process that ran the bench once."""
        process = subprocess.Popen(
            [str(word) for word in self._bench(load)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise AbsentError(f"llama-batched-bench ended with {process.returncode}")
        return usage.ru_maxrss * 1024

    def close(self) -> None:
        """Nothing stays."""

    def _common(self) -> list[str | Path]:
        return ["-m", self.model, "-t", str(self.threads), *self.options]

    def _bench(self, load: Load) -> list[str | Path]:
        room = str(-(-load.tokens // 256) * 256)
        counts = ["-npp", str(load.prompt), "-ntg", str(load.new - 1), "-npl", str(load.sequences)]
        batch = ["-c", room, "-b", "4096", "-ub", "512", "--output-format", "jsonl"]
        return [self.bench, *self._common(), "-tb", str(self.threads), *batch, *counts]


def parse_batched_bench(text: str) -> Generated:
    """Return the times in the one JSON line that `llama-batched-bench` prints among others."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    if len(found) != 1:
        raise AbsentError(f"llama-batched-bench printed {len(found)} results")
    [row] = found
    return {"first": row["t_pp"], "tokens": row["pl"] * row["tg"], "rest": row["t_tg"]}


@dataclass(frozen=True)
class Runners:
    """Makes the runner of a form."""

    environments: Environments
    threads: int
    tokens: int

    def make(self, form: Form, model: Path, avx2: bool = False) -> Runner:
        """Return the runner; `avx2`: as on a processor without AVX-512.  May be `AbsentError`."""
        if form.peer == "llama.cpp":
            build = "avx2" if avx2 else "native"
            bench = self.environments.llama(build, "llama-batched-bench")
            completion = self.environments.llama("native", "llama-completion")
            return LlamaRunner(bench, completion, model, self.threads, form.run)
        if form.peer == "ingot":
            level = {"INGOT_CPU_LEVEL": "avx2"} if avx2 else {}
            return self._worker(Path(sys.executable), "ingot", model, level)
        if avx2:
            raise AbsentError("not measured without AVX-512")
        environment = {"openvino": "ov", "ort": "ort"}[form.peer]
        return self._worker(self.environments.python(environment), form.peer, model, {})

    def _worker(
        self, python: Path, name: str, model: Path, variables: Mapping[str, str]
    ) -> WorkerRunner:
        module = f"peers.worker_{name}"
        return WorkerRunner(python, module, model, self.threads, self.tokens, variables)
