"""What a user gets wrong about targets, meshes and steps is told in one message, at once."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError

import pytest

from ingot.compiler.cli.main import main
from ingot.compiler.stages import check_options
from ingot.errors import UsageError
from ingot.targets import Settings, find_target, mesh_of
from ingot.targets.xla.compiling import requirements


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--target", "abacus"], "no target 'abacus'", "Targets: cpu, null, tpu, xla"),
        (["--target", "cpu:fast"], "target cpu has no variant 'fast'", "Write --target cpu"),
        (["--target", "xla:k80"], "target xla has no variant 'k80'", "xla:cuda-sm90, xla:a100"),
        (["--target", "tpu:v9-8"], "'v9-8'", "v5e-{1,4,8,"),
        (["--target", "null:k"], "target null has no variant 'k'", "null:tpu:v5e-8"),
        (["--mesh", "tp2"], "target cpu runs on one device, and the mesh tp2 has 2", "xla:cpu"),
        (["--target", "xla:cpu", "--mesh", "zz4"], "'zz' is no axis", "dp2xtp4"),
        (["--target", "xla:cpu", "--mesh", "four"], "cannot read the mesh 'four'", "dp2xtp4"),
        (
            ["--target", "tpu:v5e-8", "--mesh", "tp4"],
            "has 8 devices, and the mesh tp4 has 4",
            "tp8",
        ),
        (
            ["--target", "tpu:v5e-4", "--mesh", "tp8"],
            "has 4 devices, and the mesh tp8 has 8",
            "tp4",
        ),
        (["--kv-pages", "9"], "--kv-pages means nothing to target cpu", "another --target"),
        (["--activations", "float"], "--activations means nothing to target cpu", "another"),
        (["--target", "xla:cpu", "--levels", "avx2"], "has no level 'avx2'", "Leave --levels away"),
    ],
)
def test_wrong_options_are_refused(
    arguments: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["compile", "nosuch", *arguments])
    said = capsys.readouterr().err
    assert code == 2 and said.startswith("ingot: ")
    assert message in said and hint in said.splitlines()[-1]


@pytest.mark.parametrize("value", ["0", "-1", "x", "8,,16"])
def test_sizes_of_steps_are_positive_numbers(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compile", "nosuch", "--decode-batches", value])
    assert ended.value.code == 2
    assert "argument --decode-batches" in capsys.readouterr().err


def test_a_target_brings_its_mesh() -> None:
    target = find_target("tpu:v5p:2x2x2")
    assert (target.devices, target.mesh) == (8, "tp8")
    check_options(target, Settings())
    assert str(mesh_of(Settings(mesh="dp2,tp=4"), target.mesh)) == "dp2xtp4"
    assert "assign-sharding{mesh=tp8" in target.pipeline(Settings())
    with pytest.raises(UsageError, match="a mesh of one does not fit"):
        check_options(target, Settings(mesh="tp1"))


def test_a_mesh_of_one_device_is_none() -> None:
    target = find_target("xla:cpu")
    assert mesh_of(Settings(mesh="dp1xtp1")) is None
    assert "sharding" not in target.pipeline(Settings(mesh="tp1"))


def versions(**installed: str) -> Callable[[str], str]:
    """Stand in for the versions of the packages that are installed; others are not."""

    def version(package: str) -> str:
        if package not in installed:
            raise PackageNotFoundError(package)
        return installed[package]

    return version


@pytest.mark.parametrize(
    ("target", "installed", "message", "command"),
    [
        ("xla:cpu", {}, "jaxlib is not installed", 'pip install "ingot[xla]"'),
        ("xla:cpu", {"jaxlib": "0.9.9"}, "jaxlib 0.9.9 is installed, 0.10.2", "ingot[xla]"),
        ("tpu:v5e-8", {"jaxlib": "0.10.2"}, "libtpu is not installed", "ingot[tpu]"),
        (
            "tpu:v5e-8",
            {"jaxlib": "0.10.2", "libtpu": "0.0.52"},
            "libtpu 0.0.52 is installed, 0.0.42.* is needed",
            "ingot[tpu]",
        ),
        ("xla:h100", {"jaxlib": "0.10.2"}, "jax-cuda12-pjrt is not installed", "ingot[xla-cuda]"),
    ],
)
def test_a_compiler_that_is_not_there_is_named_with_what_installs_it(
    target: str,
    installed: dict[str, str],
    message: str,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(requirements, "version", versions(**installed))
    code = main(["compile", "nosuch", "--target", target])
    said = capsys.readouterr().err
    assert code == 1 and len(said.splitlines()) == 2
    assert message in said and command in said


def test_targets_are_listed_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(requirements, "version", versions(jaxlib="0.10.2"))
    assert main(["targets"]) == 0
    listed = capsys.readouterr().out
    assert "tpu:v5e-{1,4,8," in listed and "tpu alone is tpu:v5e-8" in listed
    assert "xla:a800" in listed and listed.count("ready") == 3
    assert "libtpu is not installed, so nothing can be compiled for TPUs. Run pip" in listed
