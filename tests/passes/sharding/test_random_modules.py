"""Random modules on random meshes, before and after other passes; and greedy decoding."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import pytest
import torch

from ingot.errors import UsageError
from ingot.ir import Batch, Module, interpreter_of
from ingot.passes import random_sample, random_weights
from ingot.passes.testing import random_lengths, random_module

from .conftest import Reference, Sharded

T = TypeVar("T")
MESHES = ("tp2", "tp4", "mesh=tp2,sequence=true", "cp2xtp2", "pp2xtp2", "tp2xep2")
BEFORE = (
    "select-rows",
    "canonicalize,fold-arrangements,select-rows,outline",
    "select-rows,merge-linears,fuse-norms",
    "",
)
AFTER = ("", "merge-linears,fuse-norms,canonicalize")
DIVIDED: dict[Sequence[object], Sequence[object]] = {
    (11, 64): (64,),
    ((1, 1), (4, 2), (3, 3), (4, 1)): ((4, 2), (4, 1)),
    (7, 32, 40): (32, 40),
}
"""Of sizes that random modules have, those that meshes divide."""


@pytest.mark.parametrize("mesh", MESHES)
def test_random_modules_compute_the_same_on_a_mesh(mesh: str, sharded: Sharded) -> None:
    refused = 0
    for seed in range(3):
        numbers = random.Random(f"{mesh} {seed}")

        def choose(options: Sequence[T], numbers: random.Random = numbers) -> T:
            return numbers.choice(cast(Sequence[T], DIVIDED.get(tuple(options), options)))

        module = random_module(choose)
        weights, sample = random_weights(module), random_sample(11, random_lengths(choose))
        expected = sample.logits(module, weights)
        try:
            program = sharded(module, mesh, before=choose(BEFORE), after=choose(AFTER))
        except UsageError:
            refused += 1
            continue
        found = sample.logits(program, weights)
        error = (found - expected).abs().max() / expected.abs().max()
        assert error <= 1e-9, f"seed {seed}:\n{module}"
    assert refused < 3, "every module was refused"


@pytest.mark.parametrize(("form", "mesh"), [("qwen3", "dp2xtp4"), ("mixtral", "tp2xep2")])
def test_greedy_tokens_are_the_same(
    form: str,
    mesh: str,
    unsharded: Callable[[str], Module],
    reference: Callable[[str], Reference],
    sharded: Sharded,
) -> None:
    """In float32: two sequences, of which one is prefilled in two chunks, then 6 tokens each."""
    assert _decoded(sharded(form, mesh), reference(form)) == _decoded(
        unsharded(form), reference(form)
    )


def _decoded(module: Module, known: Reference) -> list[list[int]]:
    interpreter = interpreter_of(module, known.weights, torch.float32)
    prompts = [[3, 17, 40, 8, 91], [5, 60, 2, 33, 71, 12, 9]]
    batch = Batch([0, 5, 8])
    steps = [[prompts[0], prompts[1][:3]], [[], prompts[1][3:]]]
    found: list[list[int]] = [[], []]
    lengths = [0, 0]
    for step in range(7):
        given = steps[step] if step < len(steps) else [found[0][-1:], found[1][-1:]]
        batch.starts = [0, len(given[0]), len(given[0]) + len(given[1])]
        places = [range(n, n + len(g)) for n, g in zip(lengths, given, strict=True)]
        tokens = torch.tensor(given[0] + given[1])
        positions = torch.tensor([place for one in places for place in one])
        logits = interpreter.step(tokens, positions, batch)
        for sequence, (start, end) in enumerate(batch.spans()):
            lengths[sequence] += end - start
            if end > start and lengths[sequence] >= len(prompts[sequence]):
                found[sequence].append(int(logits[end - 1].argmax()))
    return found
