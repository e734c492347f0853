"""What a checkpoint's step returns: logits, an embedding of each text, or a score of each text.

The architecture that `config.json` names says which; a sentence encoder says it by the modules that
`modules.json` lists behind the transformer (the format of sentence-transformers).
"""

from dataclasses import dataclass, field
from typing import Literal

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
)

from ingot.errors import UnsupportedError

Task = Literal["generate", "embed", "classify"]
Pooling = Literal["cls", "mean", "max", "last"]

_GENERATES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_EMBEDS = ("Model", "ForMaskedLM", "ForPreTraining")


@dataclass(frozen=True)
class Dense:
    """A linear layer behind the pooling; its parameters are `NAME.linear.weight` and `.bias`."""

    name: str
    inputs: int
    outputs: int
    bias: bool
    activation: str
    """identity, tanh, gelu, relu, sigmoid or silu."""


@dataclass(frozen=True)
class Head:
    """What follows the transformer, and how texts are prepared for it.

    `generate` has no pooling.  `embed` pools the last hidden states, then applies `dense` layers
    and perhaps a normalisation to length 1.  `classify` is the architecture's own head, whose
    pooling is `pooling`, and `activation` on its scores.
    """

    task: Task = "generate"
    pooling: Pooling = "mean"
    dense: tuple[Dense, ...] = ()
    normalize: bool = False
    activation: str = "identity"
    assumed: bool = False
    """Whether the pooling was not stated by the checkpoint."""
    max_tokens: int | None = None
    """Longer texts are cut to so many tokens, special tokens included."""
    lower_case: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    include_prompt: bool = True
    """Whether the tokens of a prompt are pooled too."""
    similarity: str = "cosine"


GENERATE = Head()


def task_of(config: PretrainedConfig) -> Task:
    """Return the task of the architecture that a configuration names.

    Without a name, a causal language model generates and a masked one embeds.  Raises
    UnsupportedError for a head that gives something else, such as a class for each token.
    """
    name = next(iter(config.architectures or ()), "")
    masked = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    if name.endswith("ForSequenceClassification"):
        return "classify"
    if name.endswith(_GENERATES) or (causal and getattr(config, "is_decoder", False)):
        return "generate"
    if name and not name.endswith(_EMBEDS):
        raise UnsupportedError(
            f"the architecture {name} has a head that is not known",
            where="config.json",
            hint="Give a model that generates, embeds or classifies text.",
        )
    return "embed" if masked else "generate"


def is_text_model(config: PretrainedConfig) -> bool:
    """Return whether some class of transformers makes a task of ours of this configuration."""
    mappings = (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_MASKED_LM_MAPPING,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    )
    return any(type(config) in mapping for mapping in mappings)
