"""Opens a GGUF file as a checkpoint."""

from pathlib import Path
from typing import Any

import torch

from ingot.models.architecture import build_architecture, config_from_fields
from ingot.models.buffers import buffer_entries
from ingot.models.checkpoint import Checkpoint
from ingot.models.formats.fitting import fit
from ingot.models.sources import SourceHashes
from ingot.models.weights import StoredWeight

from .blocks import stored_weight
from .config import config_fields, special_token_ids
from .header import Header, read_header
from .names import rename
from .tokenizer import adds_bos, tokenizer_json

ROTARY_FACTORS = "rope_freqs.weight"


def open_gguf(path: Path) -> Checkpoint:
    """Open a GGUF file; no tensor is read.

    Raises CheckpointError where the file is damaged or incomplete, UnsupportedError where its
    architecture, tokenizer or block types are not known here.
    """
    header = read_header(path)
    config = config_from_fields(config_fields(header), where=str(path))
    model = build_architecture(config)
    architecture = str(header.metadata["general.architecture"])
    renamed = rename(header, architecture, model)
    fitted = fit(model, renamed.stored | _scaled_frequencies(header, model), where=str(path))
    metadata = header.metadata
    ids = {name: value for name, value in special_token_ids(metadata).items() if value is not None}
    return Checkpoint(
        name=path.stem,
        config=config,
        weights=fitted.weights,
        sources=SourceHashes([path]),
        tied=fitted.tied,
        computed=fitted.computed,
        unused=tuple(name for name in renamed.unused if name != ROTARY_FACTORS),
        tokenizer_json=tokenizer_json(metadata, where=str(path)),
        tokenizer_config=_tokenizer_config(metadata),
        chat_template=metadata.get("tokenizer.chat_template"),
        generation_config=ids,
    )


def _scaled_frequencies(header: Header, model: torch.nn.Module) -> dict[str, StoredWeight]:
    """Return the rotary frequencies where the file scales each of them, as for Llama 3.1.

    llama.cpp's conversion stores one divisor a frequency instead of the rule that made it.
    """
    if ROTARY_FACTORS not in header.tensors:
        return {}
    factors = stored_weight(header.path, header.tensors[ROTARY_FACTORS])

    def divided(plain: StoredWeight) -> StoredWeight:
        def read() -> torch.Tensor:
            frequencies, divisors = plain.read(), factors.read()
            assert isinstance(frequencies, torch.Tensor) and isinstance(divisors, torch.Tensor)
            return frequencies / divisors

        return StoredWeight(plain.info, read)

    return {
        name: divided(entry)
        for name, entry in buffer_entries(model).items()
        if name.endswith("inv_freq") and entry.info.shape == factors.info.shape
    }


def _tokenizer_config(metadata: Any) -> dict[str, Any]:
    """Return what `tokenizer_config.json` would say."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is None:
        return {}
    keys = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    numbers = {name: metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in keys.items()}
    config: dict[str, Any] = {n: tokens[i] for n, i in numbers.items() if i is not None}
    config["add_bos_token"] = adds_bos(metadata)
    config["add_eos_token"] = bool(metadata.get("tokenizer.ggml.add_eos_token", False))
    return config
