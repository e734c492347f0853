"""What an artifact says of itself: the manifest's content and the files of the model.

Everything here follows from the checkpoint and the settings; nothing depends on the machine.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ingot.ir import Encoding
from ingot.models import Checkpoint
from ingot.passes import options_of, parse_pipeline
from ingot.targets import Build, Target

from .kinds import layer_kinds
from .pooled_head import head_entry
from .records import CheckRecord
from .report import report_json


def model_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the configuration and tokenizer files of an artifact."""
    config = {
        key: value
        for key, value in checkpoint.config.to_dict().items()
        if key not in ("_name_or_path", "transformers_version")
    }
    files = {
        "config.json": _json(config),
        "generation_config.json": _json(_generation(checkpoint, config)),
        "tokenizer_config.json": _json(checkpoint.tokenizer_config),
    }
    if checkpoint.tokenizer_json is not None:
        files["tokenizer.json"] = checkpoint.tokenizer_json
    if checkpoint.chat_template is not None:
        files["chat_template.jinja"] = checkpoint.chat_template.encode()
    return files


def describe(
    target: Target, build: Build, checkpoint: Checkpoint, checks: Sequence[CheckRecord] = ()
) -> dict[str, Any]:
    """Return the manifest beyond format and files; `checks` are those of the passes, if any ran."""
    assert build.program is not None
    weights = build.program.weights
    kinds = layer_kinds(weights)
    stored = _stored_encodings(checkpoint)
    compiled = _count(kind.encoding for kind in kinds for _ in range(kind.count))
    kept = stored.keys() <= compiled.keys() and "lm.quantize" not in build.module.text()
    return {
        "name": checkpoint.name,
        **head_entry(checkpoint, build.facts.max_positions),
        "sources": {name: {"sha256": digest} for name, digest in checkpoint.sources.items()},
        "architecture": _architecture(build, checkpoint),
        "encodings": {
            "stored": stored,
            "compiled": compiled,
            "kept_without_loss": bool(stored) and kept,
        },
        "pipeline": build.pipeline,
        "passes": _passes(build.pipeline),
        **({"verification": [check.to_json() for check in checks]} if checks else {}),
        "targets": {target.name: {"levels": list(build.settings.levels), **dict(build.notes)}},
        "report": report_json(kinds, sum(weight.step_bytes for weight in weights)),
    }


def _passes(pipeline: str) -> list[dict[str, Any]]:
    """Return each pass with its contract and all of its options, those at their default too."""
    return [
        {
            "name": one.name(),
            "options": {
                option.flag: _plain(getattr(one, option.name)) for option in options_of(type(one))
            },
            "contract": str(one.promise()),
        }
        for one in parse_pipeline(pipeline).passes
    ]


def _plain(value: object) -> object:
    """Return an option's value as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float) else str(value)


def _generation(checkpoint: Checkpoint, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the generation configuration; the model's own end token where it names none."""
    generation = {
        key: value
        for key, value in checkpoint.generation_config.items()
        if key not in ("_from_model_config", "transformers_version")
    }
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if generation.get(key) is None and config.get(key) is not None:
            generation[key] = config[key]
    return generation


def _architecture(build: Build, checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config.get_text_config()
    fields = {
        "hidden_size": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "kv_heads": "num_key_value_heads",
    }
    known = {name: getattr(config, field, None) for name, field in fields.items()}
    return {
        "model_type": config.model_type,
        "class": next(iter(config.architectures or ()), None),
        **{name: value for name, value in known.items() if value is not None},
        "vocab_size": build.facts.vocab_size,
        "max_positions": build.facts.max_positions,
        "tied_weights": dict(sorted(checkpoint.tied.items())),
        "unused_tensors": list(checkpoint.unused),
    }


def _stored_encodings(checkpoint: Checkpoint) -> dict[str, int]:
    """Return how many tensors of the checkpoint are stored in each encoding."""
    owners = [name for name in checkpoint.weights if name not in checkpoint.tied]
    stored = [checkpoint.weights.info(name).stored for name in owners]
    return _count(str(kind) for kind in stored if isinstance(kind, Encoding))


def _count(names: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
