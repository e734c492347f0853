"""The codes against their definition, and the CPU target against the interpreter."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ingot_example_encoding.normal_float import CODEBOOK, NF4
from transformers import LlamaConfig

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.ir import Batch, Encoding, Module, QuantTensor, known_encodings, quantize, run_step
from ingot.models import open_checkpoint, write_random_checkpoint
from ingot.runtime import LLM
from ingot.runtime.artifact import Artifact
from ingot.runtime.cpu_level import supported_levels
from ingot.targets import Settings

CONFIG = LlamaConfig(
    vocab_size=61,
    hidden_size=136,
    intermediate_size=136,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=1,
    max_position_embeddings=128,
)


def test_the_encoding_has_a_name_like_any_other() -> None:
    assert Encoding.parse("example-nf4") is NF4 and "example-nf4" in known_encodings()
    assert NF4.bits_per_weight == 4.25


@pytest.mark.parametrize("columns", [64, 128, 40, 100])
def test_every_weight_gets_the_nearest_code(columns: int) -> None:
    weight = torch.randn(5, columns, generator=torch.Generator().manual_seed(columns))
    encoded = quantize(weight, NF4)
    assert isinstance(encoded, QuantTensor) and encoded.scales.shape == (5, -(-columns // 64))
    scales = encoded.scales.float().repeat_interleave(64, dim=1)[:, :columns]
    choices = torch.tensor(CODEBOOK) * scales.unsqueeze(-1)
    nearest = (choices - weight.unsqueeze(-1)).abs().amin(-1)
    assert torch.equal((encoded.dequantize() - weight).abs(), nearest)


def test_zeros_stay_zeros() -> None:
    assert not quantize(torch.zeros(2, 64), NF4).dequantize().any()


@pytest.mark.parametrize("level", sorted({"generic", supported_levels()[-1]}))
def test_the_cpu_computes_what_the_interpreter_does(
    level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_random_checkpoint(tmp_path / "model", CONFIG)
    settings = Settings(
        linear="example-nf4", embedding="example-nf4", kv_dtype="float32", levels=(level,)
    )
    report = compile_model(folder, tmp_path / "out.ingot", CompileOptions(settings=settings))
    kinds = {kind.packing for kind in report.kinds if kind.encoding == "example-nf4"}
    assert kinds == {"example-nf4"}, "the weights are not held packed"
    module = Module.parse(Artifact.open(report.artifact).read_bytes("graph.mlirbc"))
    weights = open_checkpoint(folder).weights
    monkeypatch.setenv("INGOT_CPU_LEVEL", level)
    with LLM(report.artifact, 2, kv_pages=32) as llm:
        for length in (1, 3, 20):
            tokens = np.random.default_rng(length).integers(0, CONFIG.vocab_size, length)
            ids, places = torch.from_numpy(tokens), torch.arange(length)
            expected = run_step(module, weights, ids, places, Batch.single(length)).numpy()
            found = llm.logits(tokens.tolist())
            assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
