"""The proof for one model: compiled in float32, it computes what transformers computes.

A small random checkpoint is compiled without rounding anything and run with several sequences in a
step, one of them prefilled in chunks, then token by token.  Every position's logits must lie within
`TOLERANCE` of the largest logit, and the greedy tokens must be the same.
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.compiler.reference import ReferenceExecutor
from ingot.ir import Module
from ingot.models import import_model, open_checkpoint
from ingot.passes import parse_pipeline
from ingot.runtime.artifact import Artifact
from ingot.runtime.cpu_level import supported_levels
from ingot.runtime.executor import Executor
from ingot.runtime.native_executor import NativeExecutor
from ingot.targets import Settings

from .oracle import Oracle, vocabulary
from .result import Result, Verdict
from .steps import PAGES, PROMPTS, Run, run_schedule

TOLERANCE = 1e-4
NUM_PAGES = PAGES * len(PROMPTS)
MAX_STEP_TOKENS = 128
PIPELINE = "raise,canonicalize,select-rows,outline,merge-linears,fuse-norms,canonicalize"

Open = Callable[[Path, Path, int], tuple[Executor, Module]]
"""From a checkpoint, a scratch folder and the size of the vocabulary to an executor."""


def check(name: str, oracle: Oracle, folder: Path, executor: str) -> Result:
    """Prove one model, with `folder` for files; raises whatever the compiler raises."""
    size = vocabulary(open_checkpoint(oracle.folder).config)
    opened, module = EXECUTORS[executor](oracle.folder, folder, size)
    try:
        runs = run_schedule(opened, size)
    finally:
        opened.close()
    error, detail = compare(oracle, runs)
    generic = generic_ops(module)
    right = Verdict.GENERIC if generic else Verdict.RAISED
    return Result(
        name,
        Verdict.WRONG if detail else right,
        architecture=oracle.architecture,
        detail=detail,
        error=error,
        generic=generic,
    )


def native(folder: Path, scratch: Path, size: int) -> tuple[Executor, Module]:
    """Compile for this machine's level, and open the artifact."""
    settings = Settings(
        linear="none", dtype="float32", kv_dtype="float32", levels=supported_levels()[-1:]
    )
    compile_model(folder, scratch / "model.ingot", CompileOptions(settings=settings))
    artifact = Artifact.open(scratch / "model.ingot")
    executor = NativeExecutor(
        artifact, threads=2, max_step_tokens=MAX_STEP_TOKENS, kv_pages=NUM_PAGES
    )
    return executor, Module.parse(artifact.read_bytes("graph.mlirbc"))


def reference(folder: Path, scratch: Path, size: int) -> tuple[Executor, Module]:
    """Run the target-independent passes, and interpret what they give."""
    checkpoint = open_checkpoint(folder)
    module = import_model(checkpoint)
    parse_pipeline(PIPELINE).run(module)
    executor = ReferenceExecutor(
        module,
        checkpoint.weights,
        vocab_size=size,
        max_positions=1 << 20,
        num_pages=NUM_PAGES,
        max_step_tokens=MAX_STEP_TOKENS,
    )
    return executor, module


EXECUTORS: dict[str, Open] = {"native": native, "reference": reference}


def compare(oracle: Oracle, runs: list[Run]) -> tuple[float, str]:
    """Return the largest relative error, and what is wrong; an empty text if nothing is."""
    worst, wrong = 0.0, ""
    for number, run in enumerate(runs):
        expected = oracle.logits(run.tokens[: run.done])
        found = np.stack([run.logits[place] for place in range(run.done)])
        errors = np.abs(found - expected).max(axis=1) / np.abs(expected).max()
        largest = float(errors.max()) if np.isfinite(errors).all() else float("inf")
        worst = max(worst, largest)
        if largest > TOLERANCE and not wrong:
            first = int(np.argmax(~(errors <= TOLERANCE)))
            wrong = f"sequence {number} is {largest:.1e} off, first at position {first}"
        greedy = expected[run.prompt - 1 :].argmax(axis=1)
        if not wrong and list(greedy) != run.tokens[run.prompt : run.done + 1]:
            wrong = f"sequence {number} continues with other tokens"
    return worst, wrong


def generic_ops(module: Module) -> dict[str, int]:
    """Count the torch operations that are left in the functions of a module, by name."""
    names = re.findall(r"torch\.aten\.[\w.]+", module.text())
    return dict(Counter(names).most_common())
