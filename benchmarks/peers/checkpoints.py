"""Writes a random checkpoint at the configuration of a published model.

    python -m peers.checkpoints MODEL FOLDER

A process of its own, so that what it imports does not stay in memory beside the measurements.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoConfig

from ingot.models import small_tokenizer, write_random_checkpoint

from .models import MODELS, Model

TOKENIZER_TEXT = ["the quick brown fox jumps over the lazy dog and runs home again"] * 20
"""Without digits, so that each digit of a prompt is a token of its own."""
VOCABULARY = 400


def write_checkpoint(model: Model, folder: Path) -> None:
    """Write bfloat16 weights and a small tokenizer into `folder`."""
    config = AutoConfig.for_model(model.kind, **model.settings)
    tokenizer = small_tokenizer(VOCABULARY, TOKENIZER_TEXT)
    write_random_checkpoint(folder, config, dtype=torch.bfloat16, tokenizer=tokenizer)


if __name__ == "__main__":
    write_checkpoint(MODELS[sys.argv[1]], Path(sys.argv[2]))
