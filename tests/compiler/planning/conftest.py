"""A small dense model and a sparse one, opened from their configurations alone."""

import json
from pathlib import Path

import pytest

from ingot.compiler.stages import Front
from ingot.models import import_model, open_blueprint

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 96,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "dtype": "bfloat16",
    "tie_word_embeddings": False,
}


def write_configuration(folder: Path, model_type: str, **more: object) -> Path:
    """Write a `config.json` and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": model_type, **SIZES, **more}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_configuration(tmp_path_factory.mktemp("dense") / "dense", "llama")


@pytest.fixture(scope="session")
def front(dense: Path) -> Front:
    checkpoint = open_blueprint(dense)
    return Front(checkpoint, import_model(checkpoint))
