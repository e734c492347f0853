"""What third parties test their passes with: the assertions hold what they say, and can fail."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest

from ingot.errors import VerificationError
from ingot.ir import Embedding, Module, Scale, Value, Weight, build_module, float_tensor
from ingot.passes import EXACT, Contract, Pass, lossy, pattern, replace, rewrite
from ingot.passes.testing import Choose, random_lengths, random_module

Assertion = Callable[..., None]
PRODUCT = 6.0


def scaled(*factors: float) -> Module:
    """Return a module that multiplies an embedding by each factor in turn."""

    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        x: Value = Embedding(tokens, Weight("table", float_tensor([9, 4], tokens.context)).out).out
        for factor in factors:
            x = Scale(x, factor=factor).out
        return x

    return build_module(body)


@dataclass(frozen=True)
class FoldScales(Pass):
    """Make one scale of two, off by a factor of `error`."""

    contract: ClassVar[Contract] = EXACT
    error: float = 1.0

    def run(self, module: Module) -> None:
        @pattern
        def fold(op: Scale) -> None:
            inner = op.x.owner
            if isinstance(inner, Scale):
                replace(op, Scale(inner.x, factor=inner.factor * op.factor * self.error).out)

        rewrite(module, [fold])


def test_a_pass_writes_what_is_expected(assert_pass: Assertion) -> None:
    before = scaled(2.0, 3.0)
    assert_pass(FoldScales(), before, scaled(PRODUCT))
    assert_pass("canonicalize", str(before), before)


def test_a_pass_that_writes_something_else_shows_the_difference(assert_pass: Assertion) -> None:
    with pytest.raises(AssertionError, match=r"(?s)-.*6\.0.*\+.*5\.0"):
        assert_pass(FoldScales(), scaled(2.0, 2.5), scaled(PRODUCT))


def test_equivalence_is_up_to_a_contract(assert_equivalent: Assertion) -> None:
    assert_equivalent(scaled(2.0, 3.0), scaled(PRODUCT))
    with pytest.raises(AssertionError, match=r"differ by 0\.01 of their size"):
        assert_equivalent(scaled(PRODUCT), scaled(PRODUCT * 1.01))
    assert_equivalent(scaled(PRODUCT), scaled(PRODUCT * 1.01), lossy("rms", 0.011))


def test_a_contract_is_held_on_random_modules(assert_contract: Assertion) -> None:
    def draw(numbers: random.Random) -> Module:
        return scaled(numbers.random() + 1, numbers.random() + 1)

    assert_contract(FoldScales(), draw)
    assert_contract(FoldScales(), modules=2)
    with pytest.raises(VerificationError, match="its contract is exact") as failure:
        assert_contract(FoldScales(error=1.1), draw)
    assert "on random module 0" in failure.value.__notes__[0]


def test_random_modules_are_what_their_choices_say() -> None:
    first: Choose = random.Random(5).choice
    again: Choose = random.Random(5).choice
    assert str(random_module(first)) == str(random_module(again))
    assert random_lengths(first) == random_lengths(again)
    assert len({str(random_module(random.Random(seed).choice)) for seed in range(10)}) == 10
