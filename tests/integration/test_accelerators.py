"""Artifacts for TPUs and GPUs, compiled here without any: programs, executables, what is told."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingot.compiler.cli.main import main
from ingot.compiler.driver import CompileOptions, compile_model
from ingot.errors import UnsupportedError
from ingot.executables import platform_build
from ingot.runtime.artifact import Artifact
from ingot.targets import Settings
from ingot.targets.xla.compiling import OutOfMemory, compiler

STEPS = ["--context", "64", "--kv-pages", "32", "--decode-batches", "8", "--prefill-tokens", "16"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("INGOT_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def folder(small_model: Callable[[str], Any]) -> str:
    return str(small_model("qwen3").folder)


@pytest.fixture(scope="module")
def compiled(folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tpu")
    reports = ["--report", str(made / "r.html"), "--report", str(made / "r.json")]
    options = ["--target", "tpu:v5e-4", "--mesh", "dp2xtp2", *STEPS, *reports]
    assert main(["compile", folder, "--output", str(made / "m.ingot"), *options]) == 0
    return made


def test_the_artifact_carries_programs_and_what_libtpu_made_of_them(compiled: Path) -> None:
    artifact = Artifact.open(compiled / "m.ingot")
    plan = json.loads((artifact.path / "targets/tpu/plan.json").read_text())
    assert (plan["platform"], plan["topology"], plan["mesh"]) == ("tpu", "v5e:2x2", "dp2xtp2")
    assert plan["compiler"]["build"] == platform_build("tpu")
    files = [stage for step in plan["steps"] for stage in step["stages"]]
    assert len(files) == 2
    for stage in files:
        assert (artifact.path / stage["program"]).read_bytes().startswith(b"ML\xefR")
        assert len((artifact.path / stage["executable"]).read_bytes()) > 100_000


def test_the_report_tells_of_devices_in_words_and_as_a_picture(compiled: Path) -> None:
    document = json.loads((compiled / "r.json").read_text())
    programs = document["devices"]["programs"]
    assert sorted(programs) == ["decode-8.0", "prefill-16.0"]
    decode = programs["decode-8.0"]
    assert {one["kind"] for one in decode["collectives"]} == {"all-reduce", "all-gather"}
    assert all(one["axes"] == ["tp"] for one in decode["collectives"])
    assert decode["memory"]["total"] > sum(decode["weight_bytes"].values())
    page = (compiled / "r.html").read_text()
    assert "nothing was run" in page and "<title>dp2xtp2: 4 devices</title>" in page


def test_a_second_compile_takes_the_executables_from_the_cache(
    compiled: Path, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(compiler, "WorkerProcess", refuse)
    options = ["--target", "tpu:v5e-4", "--mesh", "dp2xtp2", *STEPS]
    assert main(["compile", folder, "--output", str(tmp_path / "m.ingot"), *options]) == 0
    one, other = (Artifact.open(one / "m.ingot").manifest for one in (compiled, tmp_path))
    assert one == other


def test_a_gpu_has_the_same_collectives(folder: str, tmp_path: Path) -> None:
    options = ["--target", "xla:a800", "--mesh", "tp2", *STEPS]
    report = tmp_path / "r.json"
    output = ["--output", str(tmp_path / "m.ingot"), "--report", str(report)]
    assert main(["compile", folder, *output, *options]) == 0
    programs = json.loads(report.read_text())["devices"]["programs"]
    kinds = {one["kind"] for one in programs["decode-8.0"]["collectives"]}
    assert kinds == {"all-reduce", "all-gather"}


def test_pages_that_do_not_fit_are_refused_by_the_compiler(folder: str, tmp_path: Path) -> None:
    settings = Settings(
        mesh="dp2xtp2", context=64, kv_pages=1 << 22, decode_batches=(8,), prefill_tokens=(16,)
    )
    with pytest.raises(OutOfMemory) as caught:
        compile_model(folder, tmp_path / "m.ingot", CompileOptions("tpu:v5e-4", settings))
    assert isinstance(caught.value, UnsupportedError)
    assert caught.value.needs > caught.value.has > 15 << 30
    assert not (tmp_path / "m.ingot").exists()
