"""Token ids of samples are those that a module has rows for, in whatever form it is."""

from pathlib import Path

import pytest
from transformers import AutoConfig

from ingot.ir import (
    Add,
    Embedding,
    Linear,
    LocalIds,
    Module,
    Pool,
    Scale,
    Value,
    Weight,
    build_module,
    float_tensor,
)
from ingot.models import import_model, open_checkpoint, write_random_checkpoint
from ingot.models.head import Head
from ingot.passes import parse_pipeline, random_sample, random_weights, vocabulary_of

ENCODER = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 11,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""More features than tokens."""


def weight(like: Value, name: str, *sizes: int) -> Value:
    return Weight(name, float_tensor(list(sizes), like.context)).out


def test_a_head_says_nothing_of_the_tokens() -> None:
    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        x = Embedding(tokens, weight(tokens, "table", 9, 4)).out
        return Linear(x, weight(tokens, "head", 17, 4)).out

    assert vocabulary_of(build_module(body)) == 9


def test_the_smallest_table_of_tokens_counts() -> None:
    """Tables of positions do not; none at all leaves the columns of the result."""

    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        large = Embedding(tokens, weight(tokens, "large", 12, 4)).out
        small = Embedding(tokens, weight(tokens, "small", 7, 4)).out
        place = Embedding(positions, weight(tokens, "places", 3, 4)).out
        return Add(Add(large, small).out, place).out

    def places(tokens: Value, positions: Value, batch: Value) -> Value:
        return Embedding(positions, weight(tokens, "places", 3, 4)).out

    assert vocabulary_of(build_module(body)) == 7
    assert vocabulary_of(build_module(places)) == 4


def test_a_table_on_several_devices_is_one() -> None:
    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        local = LocalIds(tokens, axis="tp", size=4, rows=3).out
        return Scale(Embedding(local, weight(tokens, "table", 3, 5)).out, factor=2.0).out

    assert vocabulary_of(build_module(body)) == 12


def test_a_module_that_pools() -> None:
    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        x = Embedding(tokens, weight(tokens, "table", 5, 40)).out
        return Pool(x, batch, kind="mean").out

    module = build_module(body)
    sample = random_sample(vocabulary_of(module))
    assert all(int(step.tokens.max()) < 5 for step in sample.steps)
    assert sample.logits(module, random_weights(module)).shape[1] == 40


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Module:
    folder: Path = tmp_path_factory.mktemp("encoder")
    config = AutoConfig.for_model("bert", **ENCODER)
    written = write_random_checkpoint(folder / "m", config, head=Head("embed"))
    return import_model(open_checkpoint(written))


@pytest.mark.parametrize("pipeline", ["", "raise", "raise,quantize{embedding=int8}"])
def test_an_encoder_before_and_after_raising(encoder: Module, pipeline: str) -> None:
    module = encoder.clone()
    parse_pipeline(pipeline).run(module)
    assert vocabulary_of(module) == 11
