"""The built wheel holds what it must, and serves where neither PyTorch nor MLIR is installed."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from transformers import LlamaConfig

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.models import small_tokenizer, write_random_checkpoint
from ingot.runtime import LLM, SamplingParams
from ingot.runtime.cpu_level import supported_levels
from ingot.targets import Settings

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.name for path in (ROOT / "src" / "ingot").iterdir() if path.is_symlink())
COMPILER_PACKAGES = ("torch", "torch_mlir", "transformers", "safetensors", "gguf", "ml_dtypes")
PROMPT = "some words to go on from"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, so that the tree and its build stay untouched."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", ".gitignore"):
        shutil.copy2(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for name in ("src", *FOLDERS):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    _run(Path(sys.executable), "-m", *build, "-w", str(output), str(source))
    [built] = output.iterdir()
    return built


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel and what it declares, nothing else."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    _run(Path(sys.executable), "-m", "venv", str(folder))
    install = ["install", "--quiet", "--disable-pip-version-check", "--no-compile", str(wheel)]
    _run(folder / "bin" / "python", "-m", "pip", *install)
    return folder / "bin"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama, compiled by this environment."""
    tokenizer = small_tokenizer(300, [PROMPT] * 3)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=2,
    )
    folder = tmp_path_factory.mktemp("tiny")
    write_random_checkpoint(folder / "model", config, tokenizer=tokenizer)
    settings = Settings(levels=supported_levels()[-1:])
    output = folder / "tiny.ingot"
    compile_model(folder / "model", output, CompileOptions(settings=settings))
    return output


def test_the_wheel_holds_every_module_and_no_source_of_the_native_one(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in FOLDERS:
        modules = [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py")]
        assert modules
        missing = {f"ingot/{path}" for path in modules} - names
        assert not missing, f"the wheel lacks {sorted(missing)}"
    packaged = {name for name in names if name.startswith("ingot/")}
    assert {"ingot/py.typed", "ingot/errors.py", "ingot/knobs.py", "ingot/__init__.py"} <= packaged
    assert "ingot/runtime/_native.pyi" in packaged
    assert sum(name.startswith("ingot/runtime/_native.") for name in packaged) == 2
    kinds = {Path(name).suffix for name in packaged}
    assert kinds <= {".py", ".pyi", ".typed", ".so"}, kinds


@pytest.mark.parametrize("package", COMPILER_PACKAGES)
def test_the_compiler_is_not_there(empty: Path, package: str) -> None:
    done = _try(empty / "python", "-c", f"import {package}")
    assert done.returncode == 1 and "ModuleNotFoundError" in done.stderr


def test_the_version_is_printed(empty: Path, wheel: Path) -> None:
    version = wheel.name.split("-")[1]
    assert _run(empty / "ingot", "--version") == f"ingot {version}\n"


@pytest.mark.parametrize(
    "words", [["compile", "x"], ["compile", "builtin"], ["opt", "x"], ["opt", "--list-passes"]]
)
def test_the_compiler_is_asked_for_in_one_sentence(empty: Path, words: list[str]) -> None:
    done = _try(empty / "ingot", *words)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("ingot: ")]
    assert len(said) == 1 and said[0].startswith(f"ingot: ingot {words[0]} needs the compiler")
    assert "pip install 'ingot[compile]'" in done.stderr


def test_an_artifact_runs_and_is_inspected(empty: Path, artifact: Path) -> None:
    with LLM(artifact) as model:
        [expected] = model.generate(PROMPT, SamplingParams(max_tokens=9, temperature=0))
    run = ("run", "--raw", "--temperature", "0", "--max-tokens", "9", str(artifact), PROMPT)
    assert _run(empty / "ingot", *run) == expected.text + "\n"
    inspected = _run(empty / "ingot", "inspect", str(artifact))
    assert "llama" in inspected and "int4-g32" in inspected


def test_an_artifact_is_evaluated(empty: Path, artifact: Path) -> None:
    words = ("evaluate", "--windows", "1", "--window-tokens", "64", str(artifact))
    assert _run(empty / "ingot", *words).startswith("perplexity ")


def test_all_of_the_serving_part_imports(empty: Path) -> None:
    program = (
        "import importlib, pkgutil, ingot.runtime as r\n"
        "names = [m.name for m in pkgutil.walk_packages(r.__path__, 'ingot.runtime.')]\n"
        "assert len(names) > 40, names\n"
        "[importlib.import_module(name) for name in names]"
    )
    _run(empty / "python", "-c", program)


def _run(program: Path, *words: str) -> str:
    """Run a program that must succeed; return what it prints."""
    done = _try(program, *words)
    assert done.returncode == 0, f"{program.name} {words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _try(program: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(program), *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        cwd=program.parent,  # not the checkout, whose folders must not be importable by chance
    )
