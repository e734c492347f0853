"""Runs each model in a process of its own: a crash or a hang costs that model alone.

The child is forked from a process that has imported everything and started no thread, which saves
seconds of imports a model.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from ingot.errors import IngotError

from .cases import Case
from .check import check
from .oracle import Oracle, write_model
from .pooled import PooledOracle, check_pooled, write_pooled
from .result import NotBuilt, Result, Verdict


def run_cases(cases: Sequence[Case], executor: str, time_limit: float) -> Iterator[Result]:
    """Give the result of each case, in order."""
    context = multiprocessing.get_context("fork")
    for case in cases:
        start = time.monotonic()
        receiving, sending = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(case, executor, sending))
        child.start()
        sending.close()
        result = _receive(case, receiving, time_limit)
        _end(child.pid)
        child.join()
        if result is None:
            result = Result(case.name, Verdict.BROKEN, detail=_death(child.exitcode, time_limit))
        yield replace(result, seconds=time.monotonic() - start)


def _receive(case: Case, receiving: Connection, time_limit: float) -> Result | None:
    try:
        result = receiving.recv() if receiving.poll(time_limit) else None
    except EOFError:
        return None
    assert result is None or isinstance(result, Result)
    return result


def _end(pid: int | None) -> None:
    """End the child's whole group: it may have started processes of its own."""
    assert pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _death(code: int | None, time_limit: float) -> str:
    if code == -signal.SIGKILL:
        return f"not done within {time_limit:.0f} s"
    return f"the process died with code {code}"


def _child(case: Case, executor: str, sending: Connection) -> None:
    os.setpgid(0, 0)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder, _quiet(Path(folder) / "log"):
        result = attempt(case, Path(folder), executor)
    sending.send(result)


@contextlib.contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """Send what the process and its libraries print to a file."""
    sys.stdout.flush()
    with log.open("wb") as file:
        kept = os.dup(1), os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            for number, copy in enumerate(kept, 1):
                os.dup2(copy, number)
                os.close(copy)


def attempt(case: Case, folder: Path, executor: str) -> Result:
    """Return the result of a case whatever is raised."""
    if case.task != "generate":
        return _attempt_pooled(case, folder, executor)
    try:
        oracle = write_model(case.configs(), folder / "model")
    except NotBuilt as error:
        return Result(case.name, Verdict.NOT_BUILT, detail=str(error))
    try:
        return check(case.name, oracle, folder, executor)
    except Exception as error:  # a bug of whatever kind: the corpus is there to show it
        return _failed(case, oracle, error)


def _attempt_pooled(case: Case, folder: Path, executor: str) -> Result:
    try:
        oracle = write_pooled(case.configs(), folder / "model", case.task)
    except NotBuilt as error:
        return Result(case.name, Verdict.NOT_BUILT, detail=str(error))
    try:
        return check_pooled(case.name, oracle, folder, executor)
    except Exception as error:  # as above
        return _failed(case, oracle, error)


def _failed(case: Case, oracle: Oracle | PooledOracle, error: Exception) -> Result:
    verdict, detail = Verdict.BROKEN, f"{type(error).__name__}: {error}"
    if isinstance(error, IngotError):
        # The folder is another in every run.
        where = error.where.replace(str(oracle.folder), "model")
        verdict, detail = Verdict.REFUSED, f"{where}: {error.message}" if where else error.message
    trace = "".join(traceback.format_exception(error))
    return Result(case.name, verdict, oracle.architecture, detail, trace=trace)
