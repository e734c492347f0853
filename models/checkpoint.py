"""A checkpoint, whatever its format: what the compiler needs to know of a trained model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import PretrainedConfig

from .head import GENERATE, Head
from .tracing.seams import position_limit
from .weights import Weights


@dataclass(frozen=True)
class Checkpoint:
    """A trained model: architecture, weights and the files that belong to it.

    `weights` holds every parameter and buffer of the model under its Hugging Face name.  `tied`
    maps a parameter that shares its storage to the name that owns it; both are in `weights`.
    `computed` names the buffers that the architecture makes itself, such as rotary frequencies.
    `unused` names the stored tensors that the architecture has no place for.  `sources` maps file
    names to sha256.  `tokenizer_json` is None where the checkpoint has no tokenizer: such a model
    takes token ids only.  `head` is what follows the transformer; `position_offset` is the row of a
    table of positions that the first token reads.
    """

    name: str
    config: PretrainedConfig
    weights: Weights
    sources: Mapping[str, str]
    tied: Mapping[str, str] = field(default_factory=dict)
    computed: frozenset[str] = frozenset()
    unused: tuple[str, ...] = ()
    tokenizer_json: bytes | None = None
    tokenizer_config: dict[str, Any] = field(default_factory=dict)
    chat_template: str | None = None
    generation_config: dict[str, Any] = field(default_factory=dict)
    head: Head = GENERATE
    position_offset: int = 0

    @property
    def position_limit(self) -> int | None:
        """The positions within which rotary frequencies stay the same; None for no bound."""
        return position_limit(self.config.get_text_config())

    def symbol(self, name: str) -> str:
        """Return the name under which the value of a parameter is stored once."""
        return self.tied.get(name, name)
