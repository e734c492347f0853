"""A sequence's logits are bitwise the same alone and in company, however it is run.

Three artifacts hold all the encodings between them: the linears of one have every integer encoding,
beside an int8 KV cache.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ingot.ir import known_encodings
from ingot.runtime import SamplingParams
from ingot.targets import Settings

LAYERS = {
    "model.layers.0.self_attn.*": "int4-g32",
    "model.layers.0.mlp.*": "int4-g32-min",
    "model.layers.1.self_attn.*": "int4-g64",
    "model.layers.1.mlp.*": "int8-g32",
    "model.layers.2.self_attn.*": "int4-g128-sym",
    "model.layers.2.mlp.*": "int8",
    "model.layers.0.self_attn.o_proj.*": "int4-g32-sym",
    "model.layers.1.self_attn.o_proj.*": "int4-g128",
    "model.layers.2.mlp.down_proj.*": "int4-g64-sym",
}
SETTINGS = {
    "float32": Settings(linear="none", dtype="float32", kv_dtype="float32"),
    "bfloat16": Settings(linear="none", dtype="bfloat16", kv_dtype="bfloat16"),
    "integers": Settings(
        linear="int8",
        embedding="int4-g32",
        overrides=tuple(f"{pattern}={encoding}" for pattern, encoding in LAYERS.items()),
        kv_dtype="int8",
    ),
}
LENGTHS = (45, 1, 3, 16, 17, 70, 100, 7, 30)


@pytest.fixture(params=SETTINGS)
def made(request: pytest.FixtureRequest, compiled: Callable[[str, Settings], Any]) -> Iterator[Any]:
    yield compiled("qwen2", SETTINGS[request.param])


def test_no_encoding_is_left_out() -> None:
    assert {*LAYERS.values(), "int8-act", "int8-row", "bf16-act"} == set(known_encodings())


def prompts(made: Any) -> list[list[int]]:
    return [made.model.prompt(length, seed) for seed, length in enumerate(LENGTHS)]


def test_alone_and_in_company_on_one_thread_and_two(made: Any) -> None:
    batch = prompts(made)
    with made.open(threads=1, reuse_prefixes=False) as llm:
        alone = [llm.logits(prompt) for prompt in batch]
    for threads in (1, 2):
        with made.open(threads=threads, reuse_prefixes=False) as llm:
            together = llm.logits(batch)
        for found, expected in zip(together, alone, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_prefilled_in_chunks_of_any_size(made: Any) -> None:
    prompt = prompts(made)[5]
    with made.open(reuse_prefixes=False) as llm:
        whole = llm.logits(prompt)
        for chunk in (1, 2, 5, 8, 16, 23, 33, 64):
            np.testing.assert_array_equal(llm.logits(prompt, chunk=chunk), whole, f"{chunk}")


def test_decoded_with_a_cached_prefix(made: Any) -> None:
    prompt = prompts(made)[6]
    params = SamplingParams(max_tokens=12, temperature=0.0, logprobs=3, ignore_eos=True)
    with made.open(reuse_prefixes=False) as llm:
        [fresh] = llm.generate([prompt], params)
        assert fresh.num_cached_tokens == 0
    with made.open() as llm:
        llm.generate([prompt], params)
        [cached] = llm.generate([prompt], params)
    assert cached.num_cached_tokens >= 64
    assert cached.token_ids == fresh.token_ids
    assert cached.logprobs == fresh.logprobs


def test_decoding_beside_others_equals_scoring(made: Any) -> None:
    """Each token's log probability while decoding is the one that scoring gives."""
    batch = prompts(made)
    params = SamplingParams(max_tokens=10, temperature=0.0, logprobs=0, ignore_eos=True)
    with made.open() as llm:
        completions = llm.generate(batch, params)
        for completion, prompt in zip(completions, batch, strict=True):
            tokens = [*prompt, *completion.token_ids]
            logits = llm.logits(tokens)[len(prompt) - 1 : -1]
            assert completion.token_ids == [int(row.argmax()) for row in logits]
