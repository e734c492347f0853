"""Families of kernels, and which choices among them are sound."""

import pytest

from ingot.runtime.tuning.choice import Choice, Family, family_of, serving

LAUNCH = {
    "name": "0.linear",
    "kernels": [[1, ["one", "oneb"]], [4, "four"], [None, ["any", "anyb"]]],
}
FAMILY = Family(((1, ("one", "oneb")), (4, ("four",)), (None, ("any", "anyb"))))


def test_a_family_is_read_from_a_launch() -> None:
    assert family_of(LAUNCH) == FAMILY
    assert FAMILY.name == "one"
    assert FAMILY.default == ((1, "one"), (4, "four"), (None, "any"))
    assert FAMILY.symbols == {"one", "oneb", "four", "any", "anyb"}


def test_candidates_are_those_that_may_be_fastest() -> None:
    assert FAMILY.candidates(1) == ("one", "oneb")
    assert FAMILY.candidates(4) == ("four",)
    assert FAMILY.candidates(8) == ("any", "anyb")
    assert FAMILY.candidates(128) == ("any", "anyb")


def test_a_candidate_that_this_level_lacks_is_left_out_and_a_default_never() -> None:
    assert FAMILY.among({"anyb"}) == Family(
        ((1, ("one",)), (4, ("four",)), (None, ("any", "anyb")))
    )


@pytest.mark.parametrize(
    "choice",
    [
        FAMILY.default,
        ((None, "anyb"),),
        ((1, "oneb"), (2, "four"), (3, "any"), (None, "anyb")),
        ((3, "four"), (None, "any")),
    ],
)
def test_sound_choices(choice: Choice) -> None:
    assert FAMILY.accepts(choice)
    assert serving(LAUNCH, {"one": choice}) == choice


@pytest.mark.parametrize(
    "choice",
    [
        (),
        ((1, "one"),),  # nothing for two rows
        ((2, "one"), (None, "any")),  # a kernel for more rows than it computes
        ((None, "four"),),
        ((4, "four"), (1, "one"), (None, "any")),
        ((4, "four"), (4, "any"), (None, "any")),
        ((1, "absent"), (None, "any")),
    ],
)
def test_unsound_choices(choice: Choice) -> None:
    assert not FAMILY.accepts(choice)


def test_without_a_choice_the_defaults_serve() -> None:
    assert serving(LAUNCH, {"another": ((None, "any"),)}) == FAMILY.default


@pytest.mark.parametrize("kernels", [[], [[None, []]], [[None, [3]]], [[None, None]]])
def test_malformed_kernels_are_refused(kernels: object) -> None:
    with pytest.raises(ValueError):
        family_of({"name": "x", "kernels": kernels})
