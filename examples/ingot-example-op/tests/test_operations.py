"""Both operations: verified, interpreted, compiled with a kernel and without."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ingot_example_op.clip_glus import ClipGlus
from ingot_example_op.quick_gelu import QuickGelus
from transformers import GPT2Config, LlamaConfig, PretrainedConfig

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.errors import UsageError
from ingot.ir import Batch, InvalidModuleError, Module, all_operations, run_step
from ingot.models import open_checkpoint, write_random_checkpoint
from ingot.passes import parse_pipeline
from ingot.passes.testing import assert_contract, assert_pass
from ingot.runtime import LLM
from ingot.runtime.artifact import Artifact
from ingot.runtime.cpu_level import supported_levels
from ingot.targets import Settings

LLAMA = LlamaConfig(
    vocab_size=61,
    hidden_size=40,
    intermediate_size=72,
    num_hidden_layers=1,
    num_attention_heads=2,
    max_position_embeddings=128,
)
GPT2 = GPT2Config(vocab_size=61, n_embd=40, n_layer=1, n_head=2, n_positions=128)
MODULE = """
func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %batch: !lm.batch)
    -> tensor<?x4xf32> {{
  %e = "lm.weight"() {{symbol = "e"}} : () -> tensor<9x4xf32>
  %x = "lm.embedding"(%tokens, %e) : (tensor<?xi32>, tensor<9x4xf32>) -> tensor<?x4xf32>
  %y = {body}
  return %y : tensor<?x4xf32>
}}
"""
UNARY = "(tensor<?x4xf32>) -> tensor<?x4xf32>"
BINARY = "(tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>"
GLU = MODULE.format(body=f'"lm.glu"(%x, %x) {{kind = "silu"}} : {BINARY}')
CLIPPED = MODULE.format(
    body=f'"lm.example_clipped_glu"(%x, %x) {{kind = "silu", limit = 2.0 : f64}} : {BINARY}'
)
GELU = MODULE.format(body=f'"lm.activation"(%x) {{kind = "gelu"}} : {UNARY}')
QUICK = MODULE.format(body=f'"lm.example_quick_gelu"(%x) {{steepness = 1.702 : f64}} : {UNARY}')


def test_the_operations_are_registered() -> None:
    assert {"lm.example_clipped_glu", "lm.example_quick_gelu"} <= set(all_operations())


def test_the_passes_make_the_operations() -> None:
    assert_pass("clip-glus{limit=2}", GLU, CLIPPED)
    assert_pass("quick-gelu", GELU, QUICK)


def test_the_verifier_refuses_a_limit_of_nothing() -> None:
    with pytest.raises(InvalidModuleError, match="needs limit above 0, found -2"):
        Module.parse(CLIPPED.replace("limit = 2.0", "limit = -2.0"))
    with pytest.raises(UsageError, match="option limit: 0 is below"):
        parse_pipeline("clip-glus{limit=0}")


def test_the_contracts_hold_on_random_modules() -> None:
    assert_contract(ClipGlus(limit=7.0), modules=2)
    assert_contract(QuickGelus(), modules=2)


@pytest.mark.parametrize(
    ("config", "added", "operation"),
    [
        (LLAMA, "clip-glus{limit=0.01}@after=outline", "lm.example_clipped_glu"),
        (GPT2, "quick-gelu@after=outline", "@remainder_0"),
    ],
)
def test_the_cpu_computes_what_the_interpreter_does(
    config: PretrainedConfig, added: str, operation: str, tmp_path: Path
) -> None:
    folder = write_random_checkpoint(tmp_path / "model", config)
    settings = Settings(linear="none", levels=(supported_levels()[-1],), added=(added,))
    report = compile_model(folder, tmp_path / "out.ingot", CompileOptions(settings=settings))
    graph = Artifact.open(report.artifact).read_bytes("graph.mlirbc")
    module = Module.parse(graph)
    assert operation in str(module)
    weights = open_checkpoint(folder).weights
    with LLM(report.artifact, 2, kv_pages=32) as llm:
        for length in (1, 20):
            tokens = np.random.default_rng(length).integers(0, config.vocab_size, length)
            ids, places = torch.from_numpy(tokens), torch.arange(length)
            expected = run_step(module, weights, ids, places, Batch.single(length)).numpy()
            found = llm.logits(tokens.tolist())
            assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
