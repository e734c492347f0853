"""Perplexity of one real model in every runtime's forms, on the same windows of tokens.

Each form is made from the same float32 weights and scored by its own runtime, one window at a time
and without special tokens, as `ingot evaluate` does.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .commands import run
from .convert import INGOT, Conversions, size_of
from .environments import Environments
from .errors import AbsentError
from .forms import FORMS, INT4, Form
from .quality_checkpoint import PARAMETERS, WINDOW_TOKENS, WINDOWS_FILE
from .table import aligned

BENCHMARKS = Path(__file__).parents[1]
LIBRARIES = (
    "src/libllama.a",
    "ggml/src/libggml.a",
    "ggml/src/libggml-cpu.a",
    "ggml/src/libggml-base.a",
)
WEIGHTS = {
    "ingot": "weights.safetensors",
    "llama.cpp": "",
    "openvino": "openvino_model.bin",
    "ort": "model.onnx.data",
}
"""The file of the weights in what a conversion makes; a GGUF file holds the tokenizer as well."""
FITTED = ("--group-size-fallback", "adjust")
"""A width of 576 is no multiple of 128: OpenVINO takes groups of 64 there."""


def _ours(name: str, width: str, linear: str, embedding: str, *more: str) -> Form:
    options = ("--levels", "native", "--quantize", linear, "--embedding", embedding, *more)
    return Form(f"ingot-{name}", "ingot", width, f"ingot-{name}.ingot", options)


def _same(encoding: str, width: str = "int4") -> Form:
    return _ours(encoding, width, encoding, "same")


OURS = (
    _same("int4-g32"),
    _same("int4-g32-sym"),
    _same("int4-g64"),
    _same("int4-g64-sym"),
    _same("int4-g128"),
    _ours("int4-g32-head8", "int4", "int4-g32", "int8"),
    _ours("int4-g32-sym-head8", "int4", "int4-g32-sym", "int8"),
    _same("int8", "int8"),
    # OpenVINO scores a window in one step, in which its keys and values are not rounded.
    _ours("int8-float-cache", "int8", "int8", "int8", "--kv-dtype", "float32"),
    Form(
        "ingot-bf16",
        "ingot",
        "bf16",
        "ingot-bf16.ingot",
        ("--levels", "native", "--quantize", "none", "--dtype", "bfloat16"),
    ),
)


def quality_forms() -> tuple[Form, ...]:
    """Return what is compared: our encodings, and each format of the others once."""
    others = {form.file: form for form in reversed(FORMS) if form.peer != "ingot"}
    return (*OURS, *(_fitted(form) for form in reversed(others.values())))


def _fitted(form: Form) -> Form:
    if form.make[: len(INT4)] != INT4:
        return form
    return Form(form.name, form.peer, form.width, form.file, (*form.make, *FITTED))


@dataclass(frozen=True)
class Quality:
    """A form, the bits of its weights' file for each parameter, and its perplexity."""

    form: Form
    bits: float
    perplexity: float


@dataclass(frozen=True)
class Scorer:
    """Scores converted models on the windows that lie in the checkpoint's folder."""

    conversions: Conversions
    environments: Environments
    threads: int

    def measure(self, form: Form) -> Quality:
        """Convert and score; raises `AbsentError` where a runtime cannot."""
        path = self.conversions.path(form)
        score: dict[str, Callable[[Path], float]] = {
            "ingot": self._ingot,
            "llama.cpp": self._llama,
            "openvino": lambda model: self._python("ov", "peers.score_openvino", model),
            "ort": lambda model: self._python("ort", "peers.score_ort", model),
        }
        bits = size_of(path / WEIGHTS[form.peer]) * 8 / PARAMETERS
        return Quality(form, bits, score[form.peer](path))

    @property
    def _arguments(self) -> list[object]:
        windows = self.conversions.checkpoint.resolve() / WINDOWS_FILE
        return [windows, WINDOW_TOKENS, self.threads]

    def _ingot(self, model: Path) -> float:
        said = run([INGOT, "evaluate", model, "--threads", self.threads, "--json"])
        return float(json.loads(said)["perplexity"])

    def _llama(self, model: Path) -> float:
        return _perplexity(run([self._program(), model, *self._arguments]))

    def _python(self, environment: str, module: str, model: Path) -> float:
        python = self.environments.python(environment).absolute()
        command = [python, "-m", module, model.resolve(), *self._arguments]
        return _perplexity(run(command, variables={"PYTHONPATH": str(BENCHMARKS)}))

    def _program(self) -> Path:
        """Return the program that scores with llama.cpp, built if it is not there."""
        built = self.environments.llama("native", "llama-quantize").parents[1]
        program = built / "bin" / "window_scores"
        if not program.exists():
            source = self.environments.prepare_source()
            headers = [f"-I{source / folder}" for folder in ("include", "ggml/include")]
            archives = [built / library for library in LIBRARIES]
            code = Path(__file__).with_name("window_scores.cpp")
            command = ["g++", "-O2", "-std=c++17", *headers, code, *archives]
            run([*command, "-fopenmp", "-ldl", "-lpthread", "-o", program])
        return program


def _perplexity(said: str) -> float:
    found = json.loads(said.strip().splitlines()[-1])
    return math.exp(found["loss"] / found["predictions"])


def quality_table(found: Sequence[Quality], absent: Sequence[tuple[Form, AbsentError]]) -> str:
    """Return the rows of each width, least bits first, and what could not be measured."""
    rows = [("width", "form", "bits a weight", "perplexity")]
    for one in sorted(found, key=lambda each: (each.form.width, each.bits)):
        form = one.form
        rows.append((form.width, form.name, f"{one.bits:.2f}", f"{one.perplexity:.3f}"))
    rows += [(form.width, form.name, "-", f"absent: {why}") for form, why in absent]
    return aligned(rows)
