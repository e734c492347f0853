"""Times by the roofline model: cases computed by hand, and properties of all of them."""

from collections import Counter
from dataclasses import astuple, replace

from hypothesis import given
from hypothesis import strategies as st

from ingot.compiler.planning.roofline import Spent, Work, peak, spend, spend_all
from ingot.targets import Hardware

DEVICE = Hardware("toy", 1000, 100.0, {"float32": 10.0, "bfloat16": 20.0}, 50.0, 0.5, "made up")
AMOUNTS = st.floats(0, 1e15)
WORKS = st.builds(
    Work,
    st.sampled_from(["float32", "bfloat16", "int8"]),
    *[AMOUNTS] * 5,
    st.integers(0, 100),
)


def test_arithmetic_that_takes_longer_than_its_reading_is_all_that_counts() -> None:
    assert spend(Work("float32", flops=40, weights=100, activations=200), DEVICE) == Spent(
        compute=4
    )


def test_reading_that_takes_longer_is_shared_out_by_bytes() -> None:
    spent = spend(Work("bfloat16", flops=40, weights=100, kv=300, activations=50), DEVICE)
    assert spent == Spent(weights=1, kv=3, activations=0.5)


def test_links_add_to_what_the_device_does_itself() -> None:
    spent = spend(Work(flops=10, sent=100, messages=3), DEVICE)
    assert spent == Spent(compute=1, links=2 + 1.5) and spent.total == 4.5


def test_a_type_without_a_peak_is_computed_in_a_wider_one() -> None:
    assert peak(DEVICE, "int8") == 20.0 and peak(DEVICE, "float32") == 10.0


def test_pieces_follow_each_other() -> None:
    works = Counter({Work(flops=10): 3, Work(weights=100): 2})
    assert spend_all(works, DEVICE) == Spent(compute=3, weights=2)


def test_a_device_alone_needs_no_links() -> None:
    alone = replace(DEVICE, link_bandwidth=0.0)
    assert spend(Work(flops=10), alone).total == 1


@given(WORKS, st.floats(1, 1e6), st.sampled_from(["memory_bandwidth", "link_bandwidth"]))
def test_more_bandwidth_is_never_slower(work: Work, factor: float, name: str) -> None:
    faster = replace(DEVICE, **{name: getattr(DEVICE, name) * factor})
    assert spend(work, faster).total <= spend(work, DEVICE).total * (1 + 1e-9)


@given(WORKS, st.floats(1, 1e6))
def test_more_arithmetic_is_never_slower(work: Work, factor: float) -> None:
    faster = replace(DEVICE, flops={kind: rate * factor for kind, rate in DEVICE.flops.items()})
    assert spend(work, faster).total <= spend(work, DEVICE).total * (1 + 1e-9)


@given(WORKS, st.sampled_from(["flops", "weights", "kv", "activations", "sent", "messages"]))
def test_more_work_is_never_faster(work: Work, name: str) -> None:
    more = replace(work, **{name: 2 * getattr(work, name)})
    assert spend(more, DEVICE).total >= spend(work, DEVICE).total * (1 - 1e-9)


@given(WORKS)
def test_no_share_of_the_time_is_negative(work: Work) -> None:
    assert all(one >= 0 for one in astuple(spend(work, DEVICE)))
