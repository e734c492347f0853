"""Targets are found by folder and by entry point; two owners of a name are an error."""

from importlib.metadata import EntryPoint

import pytest

from ingot.errors import ExtensionError, UsageError
from ingot.targets import Settings, find_target, target_names
from ingot.targets.finding import GROUP


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP.name)


def test_the_cpu_is_a_folder() -> None:
    target = find_target("cpu")
    assert target.levels == ("generic", "avx2", "avx512", "avx512bf16")
    assert [stage.name for stage in target.stages] == ["passes", "lower", "kernels"]


def test_an_entry_point_adds_a_target() -> None:
    extensions = [entry("other", "ingot.targets.cpu.target:TARGET")]
    assert find_target("other", extensions) is find_target("cpu")
    assert set(target_names(extensions)) == {"cpu", "null", "other", "tpu", "xla"}


def test_an_entry_point_may_make_the_target_of_a_variant() -> None:
    extensions = [entry("other", "ingot.targets.xla.target:open_variant")]
    assert find_target("other:h800", extensions).variant == "h800"
    assert find_target("other", extensions).variant == "cpu"


def test_two_owners_of_a_name_are_both_named() -> None:
    with pytest.raises(UsageError, match=r"targets/cpu and their\.module:TARGET"):
        find_target("cpu", [entry("cpu", "their.module:TARGET")])


def test_what_is_no_target_is_refused() -> None:
    with pytest.raises(ExtensionError, match=r"is Settings, not a value of ingot\.targets\.Target"):
        find_target("other", [entry("other", "ingot.targets:Settings")])
    with pytest.raises(UsageError, match=r"Targets: cpu, null, tpu, xla\."):
        find_target("abacus", [])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), "quantize,"),
        (Settings(linear="int8"), "quantize{linear=int8,requantize=true}"),
        (Settings(linear="none"), "quantize{linear=none,embedding=none,requantize=true}"),
        (Settings(linear="int4-g32", embedding="int4-g32"), "embedding=int4-g32,requantize=true"),
        (Settings(linear="int4-g64-sym", embedding="same"), "embedding=int4-g64-sym"),
        (Settings(dtype="bfloat16"), "quantize{float=bfloat16}"),
        (Settings(overrides=("*.o_proj.*=int8",)), "{overrides=*.o_proj.*=int8}"),
        (Settings(pipeline="raise"), "raise"),
        (Settings(pipeline="default,raise"), ",fuse-rounding,canonicalize,raise"),
        (Settings(pipeline="raise,fuse", added=("outline@before=raise",)), "outline,raise,merge"),
        (Settings(added=("outline@after=canonicalize", "raise")), "fuse-rounding,canonicalize,out"),
    ],
)
def test_settings_become_the_text_of_a_pipeline(settings: Settings, expected: str) -> None:
    assert expected in find_target("cpu").pipeline(settings)
