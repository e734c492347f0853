"""The models of the corpus by name: what is given by hand, and every other type of the mapping."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from .configs import ENCODERS, HAND
from .shrink import small_configs

FAST = (
    "bert/embed",
    "bloom",
    "cohere2",
    "deepseek_v3",
    "falcon_h1/norm",
    "gemma2",
    "gemma4_text",
    "gpt_oss",
    "jamba",
    "lfm2",
    "llama4_text",
    "qwen3_next",
)
"""A fixed part with something of everything, for every change to pass."""


@dataclass(frozen=True)
class Case:
    """A model to prove: `configs` gives small configurations, of which the first buildable counts.

    The name is the model type, or `type/variant`.  The variants `embed` and `classify` give a row
    for each text; `task` says so.
    """

    name: str
    configs: Callable[[], Iterator[PretrainedConfig]]
    task: str = "generate"


def all_cases() -> dict[str, Case]:
    """Return every case: those given by hand, then the types that transformers maps besides."""
    by_hand = {name: Case(name, lambda name=name: _by_hand(name)) for name in HAND}  # type: ignore[misc]
    others = sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - set(by_hand))
    tried = {name: Case(name, lambda name=name: small_configs(name)) for name in others}  # type: ignore[misc]
    pooled = {name: _pooled(name) for name in ENCODERS}
    return dict(sorted((by_hand | tried | pooled).items()))


def _pooled(name: str) -> Case:
    kind, _, task = name.partition("/")
    return Case(name, lambda: iter([AutoConfig.for_model(kind, **ENCODERS[name])]), task)


def _by_hand(name: str) -> Iterator[PretrainedConfig]:
    yield AutoConfig.for_model(name.partition("/")[0], **HAND[name])
