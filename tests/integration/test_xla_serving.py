"""A model divided over four devices, served by the daemon, without jax, torch or the compiler."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig

from ingot.compiler.cli.main import main
from ingot.compiler.driver import CompileOptions, compile_model
from ingot.models.random_checkpoint import write_random_checkpoint
from ingot.runtime import LLM, SamplingParams
from ingot.runtime.cpu_level import supported_levels
from ingot.targets import Settings

FLOATS: dict[str, Any] = {"linear": "none", "dtype": "float32", "kv_dtype": "float32"}
PROMPTS = ["Bees", "The capital of France is", "a b c d e f g h i j k l m n o p q r s t"]


def tokenizer() -> bytes:
    """A token for each byte, and an end."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: index for index, symbol in enumerate(alphabet)}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    text: str = backend.to_str()
    return text.encode()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = LlamaConfig(
        vocab_size=264,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=256,
        eos_token_id=257,
    )
    folder = tmp_path_factory.mktemp("models") / "bytes"
    return write_random_checkpoint(folder, config, tokenizer=tokenizer())


@pytest.fixture(scope="module")
def divided(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model over four devices."""
    sizes: dict[str, Any] = {"decode_batches": (4,), "prefill_tokens": (16,), "kv_pages": 32}
    settings = Settings(**FLOATS, mesh="tp4", **sizes)
    artifact = tmp_path_factory.mktemp("artifacts") / "divided.ingot"
    compile_model(checkpoint, artifact, CompileOptions(target="xla:cpu", settings=settings))
    return artifact


@pytest.fixture(scope="module")
def expected(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the CPU target answers in float32."""
    settings = Settings(**FLOATS, levels=supported_levels()[-1:])
    artifact = tmp_path_factory.mktemp("artifacts") / "whole.ingot"
    compile_model(checkpoint, artifact, CompileOptions(settings=settings))
    with LLM(artifact, 2, kv_pages=64) as model:
        params = SamplingParams(max_tokens=12, temperature=0.0, ignore_eos=True)
        return [one.text for one in model.generate(PROMPTS, params)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder, so that the steps are compiled once for all tests."""
    return tmp_path_factory.mktemp("cache")


@contextmanager
def daemon(artifact: Path, cache: Path) -> Iterator[str]:
    """The daemon as a process; what it says on standard error is a failure."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ingot.compiler.cli.main", "serve", str(artifact), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "INGOT_CACHE_DIR": str(cache)},
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[3].rstrip(";")
        process.terminate()
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_the_openai_client_gets_the_tokens_of_the_cpu_target(
    divided: Path, cache: Path, expected: list[str]
) -> None:
    with daemon(divided, cache) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=120)
        answer = client.completions.create(
            model="divided",
            prompt=PROMPTS,
            max_tokens=12,
            temperature=0,
            extra_body={"ignore_eos": True},
        )
        assert [choice.text for choice in answer.choices] == expected
        stream = client.completions.create(
            model="divided",
            prompt=PROMPTS[1],
            max_tokens=12,
            temperature=0,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        assert "".join(part.choices[0].text for part in stream) == expected[1]


ALONE = """
import sys
from ingot.runtime import LLM, SamplingParams
assert "jaxlib" not in sys.modules, "the serving part is to load nothing that it does not use"
params = SamplingParams(max_tokens=12, temperature=0, ignore_eos=True)
with LLM(sys.argv[1]) as model:
    [answer] = model.generate(sys.argv[2], params)
    print(repr(answer.text))
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"jax", "torch", "torch_mlir", "transformers", "libtpu"}, loaded
assert not [name for name in sys.modules if name.startswith("jaxlib.mlir")]
assert "ingot.ir" not in sys.modules and "ingot.targets" not in sys.modules
"""


def test_it_runs_without_jax_torch_and_the_compiler(
    divided: Path, cache: Path, expected: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(divided), PROMPTS[0]],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "INGOT_CACHE_DIR": str(cache)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{expected[0]!r}\n", "")


def test_commands_run_it_or_say_in_one_sentence_why_not(
    divided: Path,
    cache: Path,
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INGOT_CACHE_DIR", str(cache))
    words = [str(divided), PROMPTS[1], "--raw", "--max-tokens", "12", "--temperature", "0"]
    assert main(["run", *words]) == 0
    assert expected[1].startswith(capsys.readouterr().out.rstrip("\n"))
    assert (
        main(["evaluate", str(divided), "--windows", "1", "--window-tokens", "40", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["perplexity"] > 100
    assert main(["inspect", str(divided)]) == 0
    assert "mesh tp4, 4 devices" in capsys.readouterr().out
    assert main(["run", *words, "--threads", "2"]) == 2
    assert "takes no number of threads" in capsys.readouterr().err
    assert main(["run", *words, "--kv-memory", "1"]) == 2
    assert "32 pages, fixed when it was compiled" in capsys.readouterr().err
