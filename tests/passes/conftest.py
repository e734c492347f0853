"""The five architectures at odd small sizes, imported once, with transformers' own model beside."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from ingot.ir import Module
from ingot.models import Weights, import_model, open_checkpoint, write_random_checkpoint
from ingot.passes import Sample, parse_pipeline

SMALL = {
    "hidden_size": 40,
    "intermediate_size": 52,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "vocab_size": 97,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
}
GPT2 = {"n_embd": 36, "n_layer": 2, "n_head": 3, "n_positions": 512, "vocab_size": 97}
CONFIGS: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("llama", {**SMALL, "rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": False}),
    "llama-mha-tied": (
        "llama",
        {**SMALL, "num_key_value_heads": 5, "tie_word_embeddings": True, "attention_bias": True},
    ),
    "qwen2": (
        "qwen2",
        {**SMALL, "hidden_size": 48, "num_attention_heads": 6, "rope_parameters": YARN_ROPE},
    ),
    "qwen3": ("qwen3", {**SMALL, "head_dim": 12, "tie_word_embeddings": True}),
    "mistral": ("mistral", {**SMALL, "sliding_window": 3, "tie_word_embeddings": False}),
    "gpt2": ("gpt2", {**GPT2, "bos_token_id": 1, "eos_token_id": 2}),
}

BFLOAT16 = ("llama-mha-tied",)
"""Those whose checkpoint stores bfloat16."""


@dataclass(frozen=True)
class Model:
    """An imported architecture: `module()` gives a fresh copy in the torch dialect."""

    name: str
    folder: Path
    weights: Weights
    imported: Module

    def module(self, pipeline: str = "") -> Module:
        """Return the module as imported, after the passes of `pipeline`."""
        module = self.imported.clone()
        parse_pipeline(pipeline).run(module)
        return module

    def expected(self, tokens: Tensor) -> Tensor:
        """Return transformers' logits `[T, vocabulary]` of one sequence, in float32."""
        model = AutoModelForCausalLM.from_pretrained(
            self.folder, dtype=torch.float32, attn_implementation="eager"
        )
        with torch.inference_mode():
            logits = model(input_ids=tokens.unsqueeze(0), use_cache=False).logits[0]
        assert isinstance(logits, Tensor)
        return logits


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute on one thread: tensors this small are slower on more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """Return the model of a name in CONFIGS, imported when first asked for."""
    root = tmp_path_factory.mktemp("passes")
    made: dict[str, Model] = {}

    def get(name: str) -> Model:
        if name not in made:
            kind, options = CONFIGS[name]
            stored = torch.bfloat16 if name in BFLOAT16 else torch.float32
            config = AutoConfig.for_model(kind, **options)
            folder = write_random_checkpoint(root / name, config, seed=3, dtype=stored)
            checkpoint = open_checkpoint(folder)
            made[name] = Model(name, folder, checkpoint.weights, import_model(checkpoint))
        return made[name]

    return get


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest, models: Callable[[str], Model]) -> Model:
    """Each of the architectures in turn."""
    return models(request.param)


@pytest.fixture
def sample() -> Sample:
    """Two sequences in one step, of 9 and 4 tokens."""
    generator = torch.Generator().manual_seed(1)
    return Sample(torch.randint(97, (13,), generator=generator), (0, 9, 13))


def rewritten(source: str, pipeline: str) -> Module:
    """Return what the passes of `pipeline` make of a module given as text."""
    module = Module.parse(source, "test.mlir")
    parse_pipeline(pipeline).run(module)
    return module


@pytest.fixture
def run() -> Callable[[str, str], Module]:
    """The function from text and pipeline to the rewritten module."""
    return rewritten
