"""How lit runs the textual tests: `ingot opt` and filecheck from this Python's environment."""

import sys
from pathlib import Path

import lit.formats

config.name = "ingot"  # noqa: F821 - lit puts `config` here
config.suffixes = [".mlir"]  # noqa: F821
config.test_format = lit.formats.ShTest(execute_external=False)  # noqa: F821
config.environment["PATH"] = f"{Path(sys.executable).parent}:{config.environment['PATH']}"  # noqa: F821
config.test_exec_root = str(Path(__file__).parents[2] / "build" / "lit")  # noqa: F821
