"""Finds the GGUF tensor of each Hugging Face parameter, and undoes what the conversion changed.

llama.cpp's conversion interleaves the rows of the query and key projections of Llama, so that its
rotary embedding turns neighbours instead of halves, and stores GPT-2's `[in, out]` matrices as
`[out, in]`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
from transformers import PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from ingot.ir import QuantTensor
from ingot.models.weights import StoredWeight, Value, WeightInfo

from .blocks import permute_rows, stored_weight
from .header import Header


@dataclass(frozen=True)
class Renamed:
    """Tensors under Hugging Face names, and the GGUF names that no parameter asked for."""

    stored: dict[str, StoredWeight]
    unused: tuple[str, ...]


def rename(header: Header, architecture: str, model: PreTrainedModel) -> Renamed:
    """Return the tensors of a GGUF file under the names of the model's parameters."""
    number = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture)
    table = get_tensor_name_map(number, model.config.num_hidden_layers)
    transposed = {name for name, module in model.named_modules() if isinstance(module, Conv1D)}
    stored: dict[str, StoredWeight] = {}
    used: set[str] = set()
    for name, _ in model.named_parameters(remove_duplicate=False):
        key = table.get_name(name, try_suffixes=(".weight", ".bias"))
        if key is None or key not in header.tensors:
            continue
        used.add(key)
        weight = stored_weight(header.path, header.tensors[key])
        if architecture == "llama" and (heads := _heads(name, model.config)):
            weight = _unpermuted(weight, heads)
        if name.endswith(".weight") and name.removesuffix(".weight") in transposed:
            weight = _transposed(weight)
        stored[name] = weight
    return Renamed(stored, tuple(sorted(set(header.tensors) - used)))


def _heads(name: str, config: PretrainedConfig) -> int:
    """Return the number of heads whose rows were interleaved, 0 for other parameters."""
    module = name.rsplit(".", 2)[-2]
    counts = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    return int(counts.get(module, 0))


def _unpermuted(weight: StoredWeight, heads: int) -> StoredWeight:
    """Put the rows of each head back: first the even ones of the file, then the odd ones."""
    rows = torch.arange(weight.info.shape[0])
    order = rows.view(heads, -1, 2).transpose(1, 2).reshape(-1)
    return _changed(weight, lambda value: permute_rows(value, order))


def _transposed(weight: StoredWeight) -> StoredWeight:
    """Transpose a matrix; its blocks lie along the other dimension then, so it is dequantised."""
    rows, columns = weight.info.shape

    def turn(value: Value) -> Value:
        floats = value.dequantize() if isinstance(value, QuantTensor) else value
        return floats.t().contiguous()

    dtype = weight.info.stored if isinstance(weight.info.stored, torch.dtype) else torch.float32
    return StoredWeight(WeightInfo((columns, rows), dtype), lambda: turn(weight.read()))


def _changed(weight: StoredWeight, change: Callable[[Value], Value]) -> StoredWeight:
    return StoredWeight(weight.info, lambda: change(weight.read()))
