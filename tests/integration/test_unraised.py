"""Without a raising pattern a model still compiles, through the general route, and is right."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ingot.ir import Module
from ingot.runtime.artifact import Artifact
from ingot.targets import Settings, find_target

REMOVED = [
    ("llama", "rms_norm"),
    ("qwen3", "rope"),
    ("mistral", "glu;activation"),
    ("gpt2", "layer_norm"),
    ("gpt2", "gelu_tanh;activation"),
]


@pytest.mark.parametrize(("name", "patterns"), REMOVED)
def test_a_model_without_a_pattern_is_right(
    compiled: Callable[[str, Settings], Any],
    float32: Settings,
    relative_error: Callable[..., float],
    name: str,
    patterns: str,
) -> None:
    passes = find_target("cpu").pipeline(float32).replace("raise", f'raise{{without="{patterns}"}}')
    made = compiled(name, replace(float32, pipeline=passes))
    graph = Module.parse(Artifact.open(made.artifact).read_bytes("graph.mlirbc"))
    assert len(graph.functions) > 1, "everything was raised all the same"
    with made.open() as llm:
        for length in (1, 7, 64):
            prompt = made.model.prompt(length)
            assert relative_error(llm.logits(prompt), made.model.logits(prompt)) < 1e-4
