"""The assertions about passes: what they write, and that they keep their contract."""

import difflib
import random
from collections.abc import Callable

from ingot.ir import Module
from ingot.passes.core import (
    EXACT,
    Contract,
    Pass,
    Pipeline,
    measure,
    parse_pipeline,
    random_sample,
    random_weights,
    verify_pass,
    vocabulary_of,
)

from .random_modules import random_lengths, random_module

Source = Module | str
Draw = Callable[[random.Random], Module]


def assert_pass(rewrite: Pass | Pipeline | str, before: Source, expected: Source) -> None:
    """Assert that a pass, or a pipeline as text, makes the module `expected` of `before`.

    Names of values and spacing do not count.  `before` stays as it is.  The failure shows the
    difference as a unified diff.
    """
    module = _module(before, "before").clone()
    _pipeline(rewrite).run(module)
    found, wanted = str(module).splitlines(), str(_module(expected, "expected")).splitlines()
    diff = difflib.unified_diff(wanted, found, "expected", f"after {rewrite}", lineterm="")
    assert found == wanted, "\n".join(diff)


def assert_equivalent(
    before: Source,
    after: Source,
    contract: Contract = EXACT,
    *,
    lengths: tuple[int, ...] = (7, 1, 5),
    seed: int = 0,
) -> None:
    """Assert that two modules compute the same logits, up to `contract`.

    Both run in the reference interpreter, in float64, on one ragged step of sequences of `lengths`
    tokens and on random weights.
    """
    first, second = _module(before, "before"), _module(after, "after")
    weights = random_weights(first, seed) | random_weights(second, seed)
    sample = random_sample(vocabulary_of(first), lengths, seed)
    error = measure(contract, sample.logits(first, weights), sample.logits(second, weights))
    assert error <= contract.tolerance, (
        f"logits differ by {error:.3g} of their size ({contract.metric}), allowed is {contract}"
    )


def assert_contract(
    one: Pass | str, draw: Draw | None = None, *, modules: int = 10, seed: int = 0
) -> None:
    """Assert that a pass keeps its contract on `modules` random modules.

    `draw` makes a module of a source of random numbers, `random_module` where left out.  Every
    module runs on random weights and a random layout of sequences.
    """
    (tried,) = _pipeline(one).passes
    for index in range(seed, seed + modules):
        numbers = random.Random(index)
        module = draw(numbers) if draw else random_module(numbers.choice)
        sample = random_sample(vocabulary_of(module), random_lengths(numbers.choice), index)
        text = str(module)
        try:
            verify_pass(tried, module, random_weights(module, index), sample)
        except Exception as error:
            error.add_note(f"on random module {index}:\n{text}")
            raise


def _module(source: Source, where: str) -> Module:
    return source if isinstance(source, Module) else Module.parse(source, where)


def _pipeline(rewrite: Pass | Pipeline | str) -> Pipeline:
    if isinstance(rewrite, Pass):
        return Pipeline((rewrite,))
    return parse_pipeline(rewrite) if isinstance(rewrite, str) else rewrite
