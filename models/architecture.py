"""Builds an architecture without weights, and says clearly which ones cannot be built."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from ingot.errors import CheckpointError, UnsupportedError

from .buffers import widen_numbers
from .formats.mxfp4 import QUANT_METHOD
from .head import GENERATE, Head, is_text_model
from .tracing.encoder import automatic_class, build_options
from .tracing.seams import (
    adapt_attention,
    adapt_experts,
    adapt_rotary,
    keep_frequencies,
)


def config_from_file(path: Path) -> PretrainedConfig:
    """Read a `config.json`; code that it may point to (`auto_map`) is never run."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"), object_hook=_number)
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"cannot be read: {error}", where=str(path), hint="Download the file again."
        ) from error
    if not isinstance(fields, dict) or "model_type" not in fields:
        raise CheckpointError(
            "names no model_type", where=str(path), hint="Give the folder of a language model."
        )
    return config_from_fields(fields, where=str(path))


def _number(value: dict[str, Any]) -> Any:
    """Read what transformers writes for numbers that JSON has not: `{"__float__": "Infinity"}`."""
    return float(value["__float__"]) if value.keys() == {"__float__"} else value


def config_from_fields(fields: dict[str, Any], *, where: str) -> PretrainedConfig:
    """Return the config of `fields["model_type"]`; raises UnsupportedError for an unknown one."""
    model_type = fields["model_type"]
    if model_type not in CONFIG_MAPPING:
        raise _unknown(f"model type {model_type!r}", fields, where)
    method = (fields.get("quantization_config") or {}).get("quant_method")
    if method not in (None, QUANT_METHOD):
        raise UnsupportedError(
            f"weights quantised by {method!r} cannot be read",
            where=where,
            hint="Give the unquantised checkpoint, or a GGUF file.",
        )
    others = {name: value for name, value in fields.items() if name != "model_type"}
    try:
        config = AutoConfig.for_model(model_type, **others)
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"is no valid configuration of {model_type}: {error}",
            where=where,
            hint="Compare it with the config.json that was published with the model.",
        ) from error
    if not is_text_model(config):
        kind = "not a causal language model, nor one that embeds or classifies"
        raise _unknown(f"model type {model_type!r} ({kind})", fields, where)
    assert isinstance(config, PretrainedConfig)
    return config


def _unknown(what: str, fields: dict[str, Any], where: str) -> UnsupportedError:
    custom = "; code in the model's folder is never run" if "auto_map" in fields else ""
    return UnsupportedError(
        f"{what} is unknown to transformers {transformers.__version__}{custom}",
        where=where,
        hint="Give a model whose architecture is a causal language model of that version.",
    )


def build_architecture(config: PretrainedConfig, head: Head = GENERATE) -> PreTrainedModel:
    """Return the model on the meta device in float32: all structure, no memory for weights.

    `head` says whether it is the causal language model, the base model or the classifier.
    """
    kind = AutoModelForCausalLM if head.task == "generate" else automatic_class(head)
    try:
        with torch.device("meta"):
            model = kind.from_config(config, dtype=torch.float32, **build_options(config, head))
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError) as error:
        raise UnsupportedError(
            f"transformers {transformers.__version__} cannot build {config.model_type}: {error}",
            hint="Check the sizes in config.json.",
        ) from error
    assert isinstance(model, PreTrainedModel)
    model.train(False)
    widen_numbers(model)
    adapt_rotary(model)
    keep_frequencies(model)
    adapt_attention(model)
    adapt_experts(model)
    return model
