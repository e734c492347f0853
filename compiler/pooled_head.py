"""What the manifest says of a model that gives a row for each text."""

from dataclasses import replace
from typing import Any

from ingot.ir import Encoding
from ingot.models import Checkpoint
from ingot.targets import Settings

DEFAULT_LINEAR = "int8-g32"
"""A model that pools is small and run on whole texts: 4 bits would cost more than they save."""


def head_entry(checkpoint: Checkpoint, max_positions: int) -> dict[str, Any]:
    """Return the manifest's `task` and, unless the model generates, its `head`."""
    head = checkpoint.head
    if head.task == "generate":
        return {"task": head.task}
    facts: dict[str, Any] = {
        "pooling": head.pooling,
        "max_tokens": min(head.max_tokens or max_positions, max_positions),
        "lower_case": head.lower_case,
    }
    if head.task == "classify":
        labels = getattr(checkpoint.config, "id2label", None) or {}
        facts |= {
            "activation": head.activation,
            "labels": [str(labels[key]) for key in sorted(labels, key=int)],
        }
    else:
        facts |= {
            "pooling_assumed": head.assumed,
            "dense": [layer.name for layer in head.dense],
            "normalized": head.normalize,
            "prompts": dict(head.prompts),
            "default_prompt": head.default_prompt,
            "include_prompt": head.include_prompt,
            "similarity": head.similarity,
        }
    return {"task": head.task, "head": facts}


def with_defaults(settings: Settings, checkpoint: Checkpoint) -> Settings:
    """Return the settings of a compile with what suits the head where the user left it open."""
    infos = map(checkpoint.weights.info, checkpoint.weights)
    stores_encoded = any(isinstance(info.stored, Encoding) for info in infos)
    if checkpoint.head.task == "generate" or settings.linear != "auto" or stores_encoded:
        return settings
    return settings if settings.pipeline else replace(settings, linear=DEFAULT_LINEAR)
