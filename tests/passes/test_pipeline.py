"""The text of passes and pipelines, their errors, and the registry."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from ingot.errors import ExtensionError, UsageError, VerificationError
from ingot.ir import Module, Scale
from ingot.passes import (
    EXACT,
    Contract,
    Pass,
    Phase,
    Pipeline,
    all_passes,
    find_pass,
    parse_pipeline,
    pattern,
    random_sample,
    random_weights,
    replace,
    rewrite,
    verify_pass,
    verifying,
)

TEXTS = (
    "raise",
    "raise{without=rope;glu},canonicalize",
    "quantize{linear=int8,requantize=true}",
    "quantize{overrides=*.down_proj.weight=int8;*.o_proj.weight=none,float=bfloat16}",
    'quantize{overrides="a,b=int8"}',
)

MODULE = """
func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %batch: !lm.batch)
    -> tensor<?x4xf32> {
  %w = "lm.weight"() {symbol = "w"} : () -> tensor<9x4xf32>
  %x = "lm.embedding"(%tokens, %w) : (tensor<?xi32>, tensor<9x4xf32>) -> tensor<?x4xf32>
  %y = "lm.scale"(%x) {factor = 2.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
"""


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_read_back(text: str) -> None:
    pipeline = parse_pipeline(text)
    assert str(pipeline) == text
    assert parse_pipeline(str(pipeline)) == pipeline


def test_empty_text_and_spaces() -> None:
    assert parse_pipeline("") == Pipeline(())
    spaced = parse_pipeline(" raise { without = rope } ".replace(" {", "{"))
    assert spaced == parse_pipeline("raise{without=rope}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rais", "no pass 'rais'"),
        ("raise,", "ends in a comma"),
        ("raise{without=rope", "cannot read"),
        ("raise canonicalize", "cannot read"),
        ("raise{with=rope}", "no option 'with'"),
        ("raise{without}", "cannot read"),
        ("quantize{requantize=yes}", "'yes' is not a value of option requantize"),
        ("quantize{linear=int8,linear=int8}", "given twice"),
    ],
)
def test_unreadable_text_is_a_usage_error(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_pipeline(text)


def test_all_passes_are_found_by_file_name() -> None:
    names = set(all_passes())
    assert {
        "raise",
        "canonicalize",
        "select-rows",
        "outline",
        "quantize",
        "merge-linears",
        "fuse-norms",
        "round-activations",
        "fuse-rounding",
    } <= names
    for name, kind in all_passes().items():
        assert kind.name() == name
        assert kind.description().endswith(".")
        assert isinstance(kind().promise(), Contract)


def test_two_owners_of_a_name_are_both_named() -> None:
    entry = EntryPoint("canonicalize", "theirs.canonicalize:Canonicalize", "ingot.passes")
    with pytest.raises(UsageError, match=r"passes/canonicalize\.py and theirs\.canonicalize"):
        find_pass("canonicalize", [entry])
    twice = [EntryPoint("new", f"{owner}.new:New", "ingot.passes") for owner in ("one", "two")]
    with pytest.raises(UsageError, match=r"one\.new:New and two\.new:New"):
        find_pass("new", twice)


def test_not_found_and_not_importable_are_different() -> None:
    with pytest.raises(UsageError, match="no pass 'absent'"):
        find_pass("absent", [])
    broken = EntryPoint("broken", "no_such_distribution.broken:Broken", "ingot.passes")
    with pytest.raises(ExtensionError, match=r"ModuleNotFoundError.*no_such_distribution"):
        find_pass("broken", [broken])
    no_pass = EntryPoint("json", "json:JSONDecoder", "ingot.passes")
    with pytest.raises(ExtensionError, match=r"is JSONDecoder, not a subclass"):
        find_pass("json", [no_pass])


def test_callback_sees_every_pass_before_and_after() -> None:
    seen: list[tuple[str, str, int]] = []

    def note(one: Pass, module: Module, phase: Phase) -> None:
        seen.append((str(one), phase, str(module).count("lm.scale")))

    source = MODULE.replace("2.0", "1.0")
    parse_pipeline("canonicalize,fuse-norms").run(Module.parse(source), note)
    assert seen == [
        ("canonicalize", "before", 1),
        ("canonicalize", "after", 0),
        ("fuse-norms", "before", 0),
        ("fuse-norms", "after", 0),
    ]


@pattern
def halve(op: Scale) -> None:
    """Wrong on purpose: forgets half of the factor, once."""
    if op.factor == 2.0:
        replace(op, Scale(op.x, factor=1.0 + 1e-6).out)


@dataclass(frozen=True)
class Wrong(Pass):
    """Change what the module computes."""

    contract: ClassVar[Contract] = EXACT

    def run(self, module: Module) -> None:
        rewrite(module, [halve])


def test_a_broken_contract_names_pass_and_error() -> None:
    module = Module.parse(MODULE)
    with pytest.raises(VerificationError, match=r"pass test-pipeline.*\n?.*0\.5.*exact"):
        verify_pass(Wrong(), module, random_weights(module), random_sample(9))


def test_a_pipeline_can_hold_its_passes_to_their_contracts() -> None:
    module = Module.parse(MODULE)
    check = verifying(random_weights(module), random_sample(9))
    with pytest.raises(VerificationError, match="pass test-pipeline"):
        Pipeline((find_pass("canonicalize")(), Wrong())).run(module, check)


def test_a_kept_contract_gives_the_error() -> None:
    module = Module.parse(MODULE)
    one = find_pass("canonicalize")()
    assert verify_pass(one, module, random_weights(module), random_sample(9)) == 0.0
