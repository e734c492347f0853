"""The sizes of the steps to compile: every batch is padded to the smallest that holds it."""

from dataclasses import dataclass

from ingot.targets.base import Settings

from .lowering import StepShape

MOST_SEQUENCES = 32
"""Sequences of a step that is not decoding: chunks of prompts beside sequences that decode."""


@dataclass(frozen=True)
class Sizes:
    """Sequences of the decoding steps and tokens of the others, ascending."""

    decode: tuple[int, ...]
    prefill: tuple[int, ...]

    def chosen(self, settings: Settings) -> "Sizes":
        """Return these, or what the settings name instead."""
        return Sizes(
            tuple(sorted(settings.decode_batches or self.decode)),
            tuple(sorted(settings.prefill_tokens or self.prefill)),
        )


CPU = Sizes(decode=(1, 8), prefill=(32, 256))
"""Few, as they are compiled where they run: one conversation, a small server, a chunk of a prompt.

A chunk of 32 makes short prompts cheap, one of 256 lets long ones read the weights seldom.
"""

ACCELERATOR = Sizes(decode=(8, 32, 128), prefill=(128, 1024))
"""A matrix unit works on 8 rows or more at a time, and decoding is bound by the weights up to a
few hundred rows: fewer sequences take as long as 8.  128 tokens fill the 128 rows of a unit; 1024
are past the ratio of operations to bytes from which on the weights are read for nothing.
"""


def step_shapes(sizes: Sizes, blocks: int) -> tuple[StepShape, ...]:
    """Return the steps to compile for block tables of `blocks` pages a sequence, smallest first.

    Decoding steps come first.  The others hold as many sequences as tokens, up to the most that is
    decoded at once, and give one row for each; of the smallest there is a twin that gives the rows
    of all its tokens, so that a batch which wants every row is split and not refused.
    """
    sequences = max((MOST_SEQUENCES, *sizes.decode))
    shapes = [StepShape(n, n, n, blocks, decode=True) for n in sizes.decode]
    for index, tokens in enumerate(sizes.prefill):
        held = min(tokens, sequences)
        shapes.append(StepShape(tokens, held, held, blocks))
        if index == 0 and held < tokens:
            shapes.append(StepShape(tokens, held, tokens, blocks))
    return tuple(shapes)
