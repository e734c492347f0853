"""Writes SmolLM2 dequantised to float32 as a Hugging Face folder, and the windows it is judged on.

The built-in model's weights lie on grids of few bits already; peers convert from floats, so every
format is made from the same float32 values (a second rounding, the same for everybody).
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from ingot.compiler.evaluate import WINDOW_TOKENS as WINDOW_TOKENS
from ingot.compiler.evaluate import cut_windows, english_text
from ingot.ir import QuantTensor
from ingot.models import Checkpoint, fetch_builtin, open_checkpoint

PARAMETERS = 134_515_008
"""Of the model, the tied head counted once."""
WINDOWS_FILE = "windows.i32"


def write_checkpoint(folder: Path) -> Path:
    """Write config, weights `[...]` of float32 and the tokenizer, once; returns the folder."""
    path = folder / "smollm2-float32"
    if (path / WINDOWS_FILE).exists():
        return path
    path.mkdir(parents=True, exist_ok=True)
    checkpoint = open_checkpoint(fetch_builtin())
    save_file(_float_weights(checkpoint), path / "model.safetensors", {"format": "pt"})
    config = checkpoint.config.to_dict() | {
        "architectures": ["LlamaForCausalLM"],
        "dtype": "float32",
        "tie_word_embeddings": True,
    }
    (path / "config.json").write_text(json.dumps(config, indent=2, default=str))
    (path / "generation_config.json").write_text(json.dumps(checkpoint.generation_config))
    assert checkpoint.tokenizer_json is not None
    (path / "tokenizer.json").write_bytes(checkpoint.tokenizer_json)
    tokenizer = checkpoint.tokenizer_config | {"tokenizer_class": "PreTrainedTokenizerFast"}
    (path / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    _write_windows(path)
    return path


def _float_weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Return the parameters as float32; what is tied or computed is left to the reader."""
    left_out = {*checkpoint.tied, *checkpoint.computed}
    weights: dict[str, torch.Tensor] = {}
    for name in checkpoint.weights:
        if name not in left_out:
            value = checkpoint.weights[name]
            plain = value.dequantize() if isinstance(value, QuantTensor) else value
            weights[name] = plain.to(torch.float32).contiguous()
    return weights


def _write_windows(path: Path) -> None:
    """Write the windows of `ingot evaluate`, int32 `[16, 1024]`, and what peers ask of them."""
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokens = tokenizer.encode(english_text(), add_special_tokens=False).ids
    np.asarray(cut_windows(tokens), dtype=np.int32).tofile(path / WINDOWS_FILE)
