"""Example packages: installed by pip, right by their own tests, and used by `ingot compile`."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from transformers import GraniteConfig

from ingot.models import write_random_checkpoint
from ingot.runtime.cpu_level import supported_levels

Run = Callable[..., subprocess.CompletedProcess[str]]

LEVEL = supported_levels()[-1]
GRANITE = GraniteConfig(
    vocab_size=61,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=64,
    tie_word_embeddings=False,
    residual_multiplier=0.25,
    logits_scaling=4.0,
)
OPTIONS = {
    "all": [
        *("--levels", LEVEL, "--quantize", "example-nf4"),
        *("--add-pass", "absorb-scales@before=quantize"),
        *("--add-pass", "clip-glus{limit=1}@after=outline"),
    ],
    "numpy": ["--target", "example-numpy"],
}
PROGRAM = """
import json, sys
from ingot.compiler.cli.main import main

for name, words in json.loads(sys.argv[1]).items():
    assert main(["compile", *words, "--no-measure", "--output", f"{name}.ingot"]) == 0, name
    assert main(["inspect", f"{name}.ingot"]) == 0, name
assert main(["opt", "--list-passes"]) == 0
assert main(["opt", "--help-pass", "absorb-scales"]) == 0
assert main(["opt", "--print-pipeline", "absorbed"]) == 0
"""


def test_their_own_tests_pass(packages: Path, installed: Path, run: Run) -> None:
    options = ("-q", "--import-mode=importlib", "-p", "no:cacheprovider")
    asyncio = ("-o", "asyncio_default_fixture_loop_scope=function")
    tests = sorted(str(path) for path in packages.glob("*/tests"))
    assert len(tests) == 4
    done = run(installed, "-m", "pytest", *options, *asyncio, *tests)
    assert done.returncode == 0, done.stdout[-4000:]


def test_compile_uses_them(installed: Path, run: Run, tmp_path: Path) -> None:
    checkpoint = str(write_random_checkpoint(tmp_path / "model", GRANITE))
    commands = {name: [checkpoint, *options] for name, options in OPTIONS.items()}
    done = run(installed, "-c", PROGRAM, json.dumps(commands))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "clip-glus" in done.stdout and "without=" in done.stdout
    assert "outline,absorb-scales" in done.stdout
    manifest = (tmp_path / "all.ingot" / "manifest.json").read_text()
    assert ",absorb-scales,quantize{linear=example-nf4," in manifest
    assert '"packing": "example-nf4"' in manifest
    assert "example_clipped_glu_silu" in manifest
    assert (tmp_path / "numpy.ingot" / "targets" / "example-numpy" / "step.py").exists()
