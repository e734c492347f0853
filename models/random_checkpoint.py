"""Writes checkpoints with random weights, of any size, for tests and benchmarks."""

import copy
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import PretrainedConfig

from .architecture import build_architecture
from .head import GENERATE, Head

CHUNK = 1 << 22
"""Elements that are made at a time, so that no large tensor is ever whole in memory."""
DTYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class _Parameter:
    name: str
    shape: tuple[int, ...]


def write_random_checkpoint(
    directory: Path,
    config: PretrainedConfig,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    shard_bytes: int | None = None,
    tokenizer: bytes | None = None,
    head: Head = GENERATE,
) -> Path:
    """Write a Hugging Face folder for `config` and return it; memory stays below a few chunks.

    Files hold at most `shard_bytes` of tensors each (one file if None); a tied parameter is stored
    once.  `tokenizer` is a `tokenizer.json`, whose chat template then is ChatML.  A tensor's values
    depend on `seed` and its name alone.  `head` says which class of the architecture it is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = copy.deepcopy(config)
    model = build_architecture(config, head)
    config.architectures = [type(model).__name__]
    config.dtype = dtype
    config.to_json_file(directory / "config.json")
    parameters = [_Parameter(name, tuple(p.shape)) for name, p in _stored(model)]
    _write_weights(directory, _shards(parameters, dtype, shard_bytes), seed, dtype)
    ends = {"bos_token_id": config.bos_token_id, "eos_token_id": config.eos_token_id}
    _write_json(directory / "generation_config.json", ends)
    if tokenizer is not None:
        (directory / "tokenizer.json").write_bytes(tokenizer)
        (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
        end_of_text, _, end = SPECIAL_TOKENS
        tokenizer_config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": end_of_text,
            "eos_token": end,
        }
        _write_json(directory / "tokenizer_config.json", tokenizer_config)
    return directory


def small_tokenizer(vocabulary_size: int, text: Sequence[str]) -> bytes:
    """Train a byte-level BPE tokenizer on `text` and return its `tokenizer.json`.

    The first three tokens are `<|endoftext|>`, `<|im_start|>` and `<|im_end|>`; the size is at
    least 259, and less than asked for where the text has too few pairs.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    return str(tokenizer.to_str()).encode("utf-8")


def _stored(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return parameters, and the buffers of floats that a checkpoint stores beside them."""
    names = set(model.state_dict())
    buffers = [(n, b) for n, b in model.named_buffers() if n in names and b.is_floating_point()]
    return [*model.named_parameters(), *buffers]


def _shards(
    parameters: list[_Parameter], dtype: torch.dtype, limit: int | None
) -> list[list[_Parameter]]:
    shards: list[list[_Parameter]] = [[]]
    size = 0
    for parameter in parameters:
        added = prod(parameter.shape) * dtype.itemsize
        if limit is not None and shards[-1] and size + added > limit:
            shards.append([])
            size = 0
        shards[-1].append(parameter)
        size += added
    return shards


def _write_weights(
    directory: Path, shards: list[list[_Parameter]], seed: int, dtype: torch.dtype
) -> None:
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        name = name if len(shards) > 1 else "model.safetensors"
        weight_map |= {parameter.name: name for parameter in shard}
        with (directory / name).open("wb") as file:
            _write_shard(file, shard, seed, dtype)
    if len(shards) > 1:
        total = sum(prod(p.shape) * dtype.itemsize for shard in shards for p in shard)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        _write_json(directory / "model.safetensors.index.json", index)


def _write_shard(file: BinaryIO, shard: list[_Parameter], seed: int, dtype: torch.dtype) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for parameter in shard:
        begin, end = end, end + prod(parameter.shape) * dtype.itemsize
        header[parameter.name] = {
            "dtype": DTYPE_NAMES[dtype],
            "shape": parameter.shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for parameter in shard:
        for chunk in _random_chunks(parameter, seed):
            file.write(chunk.to(dtype).view(torch.uint8).numpy().data)


def _random_chunks(parameter: _Parameter, seed: int) -> Iterator[Tensor]:
    """Give the values of a parameter in pieces: such that activations keep their size.

    Matrices have the standard deviation 1/√K, vectors a tenth; those of norms lie around one.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(parameter.name.encode()) + seed)
    matrix = len(parameter.shape) > 1
    deviation = parameter.shape[-1] ** -0.5 if matrix else 0.1
    mean = 1.0 if not matrix and parameter.name.endswith("weight") else 0.0
    left = prod(parameter.shape)
    while left:
        count = min(left, CHUNK)
        yield torch.randn(count, generator=generator).mul_(deviation).add_(mean)
        left -= count


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
