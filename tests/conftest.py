"""Settings of all tests: kernels are measured for the user's cache only where a test says so."""

import gc
import os

import pytest

from ingot.compiler.cycles import RARELY

os.environ.setdefault("INGOT_TUNING", "off")
# As while compiling: most tests import torch, trace models or build modules.
gc.set_threshold(*RARELY)


def pytest_configure(config: pytest.Config) -> None:
    """Let processes that run tests side by side, which inherit this, use one core each in torch."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
