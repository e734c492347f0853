"""Which level is run: what the artifact carries, what the machine has, what is faster there."""

import pytest

from ingot.errors import UsageError
from ingot.runtime import _native
from ingot.runtime.cpu_level import choose_level, supported_levels

ALL = ("generic", "avx2", "avx512", "avx512bf16")


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine that has every level."""
    monkeypatch.setattr(_native, "cpu_level", lambda: "avx512bf16")
    return monkeypatch


@pytest.mark.parametrize(("speed", "level"), [(2.0, "avx512bf16"), (0.5, "avx512")])
def test_the_faster_product_decides(
    everything: pytest.MonkeyPatch, speed: float, level: str
) -> None:
    everything.setattr(_native, "bf16_speed", lambda: speed)
    assert choose_level(ALL) == level


def test_a_wish_is_followed_even_if_slower(everything: pytest.MonkeyPatch) -> None:
    everything.setattr(_native, "bf16_speed", lambda: 0.5)
    for level in ALL:
        everything.setenv("INGOT_CPU_LEVEL", level)
        assert choose_level(ALL) == level


def test_a_level_needs_the_objects_of_its_base(everything: pytest.MonkeyPatch) -> None:
    everything.setattr(_native, "bf16_speed", lambda: 2.0)
    assert choose_level(["avx2", "avx512bf16"]) == "avx2"
    everything.setenv("INGOT_CPU_LEVEL", "avx512bf16")
    with pytest.raises(UsageError, match=r"avx512bf16 cannot be used here \(usable: avx2\)"):
        choose_level(["avx2", "avx512bf16"])


def test_the_measurement_is_of_this_machine() -> None:
    speed = _native.bf16_speed()
    assert speed > 0.1 if supported_levels()[-1] == "avx512bf16" else speed == 0


def test_a_wish_is_met_by_the_base_where_no_kernel_would_differ(
    everything: pytest.MonkeyPatch,
) -> None:
    everything.setenv("INGOT_CPU_LEVEL", "avx512bf16")
    assert choose_level({"generic", "avx512"}) == "avx512"
