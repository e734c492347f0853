"""A small random model in transformers: its checkpoint, and the logits that are to be met."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from .result import NotBuilt

EXAMPLE = 40
LEAST_SPREAD = 1e-2
"""Logits must spread at least so much over the vocabulary, or they would prove nothing."""


class Oracle:
    """A checkpoint in `folder` and the model that transformers makes of it, in float32."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        )
        self._model: Any = model.train(False)
        self.architecture = type(model).__name__
        self.parameters = sum(parameter.numel() for parameter in model.parameters())

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return logits `[tokens, vocabulary]` of one sequence from its start."""
        with torch.inference_mode():
            found = self._model(input_ids=torch.tensor([list(tokens)]), use_cache=False).logits[0]
        logits: NDArray[np.float32] = found.float().numpy()
        return logits

    def check_sound(self, vocabulary: int) -> None:
        """Raise NotBuilt unless logits spread, are finite, and depend on the first token."""
        tokens = [3 + (7 * place) % (vocabulary - 3) for place in range(EXAMPLE)]
        first, second = self.logits(tokens), self.logits([tokens[0] ^ 1, *tokens[1:]])
        if not np.isfinite(first).all() or first.std(axis=1).min() < LEAST_SPREAD:
            raise NotBuilt("the random weights give logits without a spread")
        if np.abs(first[-1] - second[-1]).max() == 0:
            raise NotBuilt("no logits depend on an earlier token")


def write_model(configs: Iterator[PretrainedConfig], folder: Path) -> Oracle:
    """Save the first of `configs` that transformers can build and run, with random weights."""
    failures: list[str] = []
    for number, config in enumerate(configs):
        try:
            place = folder / str(number)
            _save(config, place)
            oracle = Oracle(place)
            oracle.check_sound(vocabulary(config))
        except Exception as error:  # whatever transformers raises is said of the configuration
            failures.append(f"{type(error).__name__}: {error}")
        else:
            return oracle
    raise NotBuilt(failures[0] if failures else "there is no configuration")


def vocabulary(config: PretrainedConfig) -> int:
    """Return the number of tokens that a model knows."""
    text = config.get_text_config(decoder=True)
    size = text.vocab_size
    assert isinstance(size, int)
    return size


def _save(config: PretrainedConfig, folder: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        config, dtype=torch.float32
    )
    randomize(model)
    model.save_pretrained(folder)


def randomize(model: nn.Module) -> None:
    """Give every parameter and stored buffer a random value of a size that keeps activations sane.

    Matrices get the deviation 1/√K.  Vectors keep what the model's own initialisation says, and get
    noise: nothing is exactly zero or one, which would hide that it is not applied at all.
    """
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in _stored(model):
            noise = torch.randn(tensor.shape, generator=generator)
            if tensor.dim() > 1 and tensor.shape[-1] > 1:
                tensor.copy_(noise * tensor.shape[-1] ** -0.5)
            else:
                scale = tensor.abs().clamp(min=1.0) * 0.1
                tensor.add_(noise * scale)
        for table in model.modules():
            # Training keeps the row of the padding at zero, and some models zero it when they load.
            if isinstance(table, nn.Embedding) and table.padding_idx is not None:
                table.weight[table.padding_idx].zero_()


def _stored(model: nn.Module) -> list[Tensor]:
    names = set(model.state_dict())
    buffers = [value for name, value in model.named_buffers() if name in names]
    return [*model.parameters(), *(one for one in buffers if one.is_floating_point())]
