"""Options: what their text means, which values they take, and what a user is told of them."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

from ingot.errors import UsageError
from ingot.ir import Encoding, Module
from ingot.passes import (
    EXACT,
    Contract,
    Pass,
    all_passes,
    find_pass,
    list_passes,
    list_pipelines,
    option,
    options_of,
    parse_pipeline,
    pass_help,
    pipelines,
)
from ingot.passes.core.options import format_options, parse_options


@dataclass(frozen=True)
class Sample(Pass):
    """Do nothing, with every type of option.

    A second paragraph.
    """

    contract: ClassVar[Contract] = EXACT

    count: int = option(3, help="how many", minimum=1, maximum=9)
    ratio: float = option(0.5, help="which part", minimum=0)
    fast: bool = option(False, help="whether to hurry")
    kind: Literal["near", "far"] = option("near", help="which way")
    encoding: Encoding = option(Encoding.parse("int8"), help="how weights are stored")
    names: tuple[str, ...] = option((), help="which ones")
    sizes: tuple[int, ...] = option((4,), help="how large")
    title: str = "plain"

    def check(self) -> None:
        if self.fast and self.count > 5:
            raise UsageError("too many to hurry", where="pass sample", hint="Take fewer.")

    def run(self, module: Module) -> None:
        """Leave the module as it is."""


def parsed(text: str) -> Sample:
    return parse_options(Sample, text, where="pass sample")


@pytest.mark.parametrize(
    "text", ["count=4,ratio=0.25", "count=4 ratio=0.25", " count=4 , ratio=0.25"]
)
def test_commas_and_spaces_separate(text: str) -> None:
    assert parsed(text) == Sample(count=4, ratio=0.25)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fast=true", Sample(fast=True)),
        ("kind=far", Sample(kind="far")),
        ("encoding=int4-g64", Sample(encoding=Encoding.parse("int4-g64"))),
        ("names=a;b", Sample(names=("a", "b"))),
        ("sizes=1;2", Sample(sizes=(1, 2))),
        ('title="a b, c"', Sample(title="a b, c")),
        ('names="a b;c"', Sample(names=("a b", "c"))),
    ],
)
def test_every_type_has_a_text_and_back(text: str, expected: Sample) -> None:
    assert parsed(text) == expected
    assert parsed(format_options(expected)[1:-1]) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("count=0", "option count: 0 is below 1\n  Give a whole number, 1 to 9"),
        ("count=10", "option count: 10 is above 9"),
        ("ratio=-1", "option ratio: -1 is below 0\n  Give a number, at least 0"),
        ("count=1.5", "'1.5' is not a value of option count\n  Give a whole number"),
        ("fast=yes", "'yes' is not a value of option fast\n  Give true or false"),
        ("kind=up", "option kind: 'up' is none of its values\n  Give near or far"),
        ("encoding=int5", "option encoding: unknown encoding 'int5'; known are int4-g32"),
        ("sizes=1;x", "option sizes\n  Give a whole number; more between semicolons"),
        ("count=", "'' is not a value of option count"),
        ("many=1", "no option 'many'\n  Options: count, ratio, fast"),
        ("count=1,count=2", "option 'count' is given twice"),
        ("count=6,fast=true", "too many to hurry\n  Take fewer"),
    ],
)
def test_a_wrong_value_says_what_is_right(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert said in str(caught.value)


def test_values_are_checked_in_python_too() -> None:
    with pytest.raises(UsageError, match="option count: 12 is above 9"):
        Sample(count=12)


def test_help_shows_defaults_and_meaning() -> None:
    text = pass_help(Sample)
    assert "Do nothing, with every type of option.\n\n  A second paragraph." in text
    assert "contract: exact" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "count=3 how many a whole number, 1 to 9" in lines
    assert "encoding=int8 how weights are stored an encoding" in lines


@pytest.mark.parametrize("name", sorted(all_passes()))
def test_every_option_of_ours_is_explained(name: str) -> None:
    for one in options_of(find_pass(name)):
        assert one.help, f"{name}: option {one.flag} has no help"
    assert name in list_passes(all_passes().values())


def test_named_pipelines_stand_for_their_passes() -> None:
    named = pipelines()
    assert {"lift", "fuse"} <= set(named)
    for name, pipeline in named.items():
        assert pipeline.description.endswith("."), name
        assert str(parse_pipeline(name)) == str(parse_pipeline(pipeline.text))
        assert pipeline.text in list_pipelines(named.values())


def test_the_short_form_of_quantize() -> None:
    (short,) = parse_pipeline("quantize{bits=4 group=64}").passes
    assert str(short) == "quantize{bits=4,group=64}"
    for wrong in ("bits=8 group=64", "group=64", "bits=4 linear=int8"):
        with pytest.raises(UsageError, match="pass quantize"):
            parse_pipeline(f"quantize{{{wrong}}}")


def test_names_of_pipelines() -> None:
    own = {"mine": "raise,loop", "loop": "mine"}
    with pytest.raises(UsageError, match="'mine' stands in itself: mine in loop in mine"):
        parse_pipeline("mine", own)
    with pytest.raises(UsageError, match="pipeline 'fuse' takes no options"):
        parse_pipeline("fuse{a=1}")
    assert str(parse_pipeline("two,outline", {"two": "raise"})) == "raise,outline"


def test_passes_are_put_at_a_place() -> None:
    pipeline = parse_pipeline("raise,canonicalize,outline,canonicalize")

    def names(text: str) -> list[str]:
        return [one.name() for one in pipeline.with_passes(text).passes]

    assert names("quantize{linear=int8}")[-1] == "quantize"
    assert names("fuse-norms@after=canonicalize")[-1] == "fuse-norms"
    assert names("fuse-norms@before=canonicalize")[1] == "fuse-norms"
    with pytest.raises(UsageError, match="no pass 'quantize' to put fuse-norms after"):
        names("fuse-norms@after=quantize")
