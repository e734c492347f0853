"""An artifact for XLA whose program is written by hand: logits are rows of a table, and a count.

The table is divided along tp, each device's part int4; its rows' sum goes over tp.  The KV cache
counts the runs, and the count is added to every logit.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.executables import platform_build
from ingot.runtime import artifact_format as form
from ingot.runtime.executor import StepBatch

VOCAB = 10
STEPS = ((2, 2, True), (8, 2, False))  # tokens = rows, sequences, decode

PROGRAM = """
module @toy attributes {{mhlo.num_replicas = 4 : i32, mhlo.num_partitions = 1 : i32}} {{
 func.func public @main(
   %tokens: tensor<{T}xi32>, %positions: tensor<{T}xi32>, %ids: tensor<{T}xi32>,
   %slots: tensor<{T}xi32>, %tables: tensor<{S}x4xi32>, %starts: tensor<{S1}xi32>,
   %lengths: tensor<{S}xi32>, %number: tensor<1xi32>, %rows: tensor<{T}xi32>,
   %kv: tensor<4x16x2x1xf32> {{tf.aliasing_output = 1 : i32}}, %table: tensor<10x10xi4>)
   -> (tensor<{T}x10xf32>, tensor<4x16x2x1xf32>) {{
  %i = stablehlo.reshape %rows : (tensor<{T}xi32>) -> tensor<{T}x1xi32>
  %chosen = "stablehlo.gather"(%tokens, %i) {{
     dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0], start_index_map = [0],
       index_vector_dim = 1>, slice_sizes = array<i64: 1>}}
     : (tensor<{T}xi32>, tensor<{T}x1xi32>) -> tensor<{T}xi32>
  %j = stablehlo.reshape %chosen : (tensor<{T}xi32>) -> tensor<{T}x1xi32>
  %wide = stablehlo.convert %table : (tensor<10x10xi4>) -> tensor<10x10xf32>
  %part = "stablehlo.gather"(%wide, %j) {{
     dimension_numbers = #stablehlo.gather<offset_dims = [1], collapsed_slice_dims = [0],
       start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 10>}}
     : (tensor<10x10xf32>, tensor<{T}x1xi32>) -> tensor<{T}x10xf32>
  %sum = "stablehlo.all_reduce"(%part) ({{
   ^bb0(%p: tensor<f32>, %q: tensor<f32>):
    %r = stablehlo.add %p, %q : tensor<f32>
    stablehlo.return %r : tensor<f32>
  }}) {{replica_groups = dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>}}
     : (tensor<{T}x10xf32>) -> tensor<{T}x10xf32>
  %one = stablehlo.constant dense<1.0> : tensor<4x16x2x1xf32>
  %new = stablehlo.add %kv, %one : tensor<4x16x2x1xf32>
  %corner = stablehlo.slice %new [0:1, 0:1, 0:1, 0:1]
     : (tensor<4x16x2x1xf32>) -> tensor<1x1x1x1xf32>
  %count = stablehlo.reshape %corner : (tensor<1x1x1x1xf32>) -> tensor<f32>
  %counts = stablehlo.broadcast_in_dim %count, dims = [] : (tensor<f32>) -> tensor<{T}x10xf32>
  %logits = stablehlo.add %sum, %counts : tensor<{T}x10xf32>
  return %logits, %new : tensor<{T}x10xf32>, tensor<4x16x2x1xf32>
 }}
}}
"""


def parts() -> list[NDArray[np.int8]]:
    """The parts of the table along tp."""
    numbers = np.random.default_rng(3)
    return [numbers.integers(-8, 8, (VOCAB, VOCAB), dtype=np.int8) for _ in range(2)]


def logits(tokens: list[int], runs: int) -> NDArray[np.float32]:
    """What the program gives for these tokens in its run number `runs`, from 1."""
    return sum(parts()).astype(np.float32)[tokens] + np.float32(runs)  # type: ignore[union-attr]


def plan(**changes: Any) -> dict[str, Any]:
    """The plan, on a mesh of dp2xtp2."""
    steps = [
        {
            "tokens": tokens,
            "sequences": sequences,
            "rows": tokens,
            "blocks": 4,
            "decode": decode,
            "stages": [{"program": f"targets/xla/{tokens}.mlir", "executable": None}],
        }
        for tokens, sequences, decode in STEPS
    ]
    return {
        "version": 1,
        "platform": "cpu",
        "topology": "",
        "mesh": "dp2xtp2",
        "compiler": {"build": platform_build("cpu")},
        "limits": {"vocab_size": VOCAB, "max_positions": 64, "page_tokens": 16, "num_pages": 8},
        "kv_cache": {"dtype": "float32", "layers": [{"stage": 0, "shape": [4, 16, 2, 1]}]},
        "parameters": [
            {
                "name": "table",
                "dtype": "int4",
                "shape": [VOCAB, VOCAB],
                "stage": 0,
                "parts": {"axes": ["tp"], "weights": ["table@tp0", "table@tp1"]},
                "offset": 64,
            }
        ],
        "steps": steps,
        **changes,
    }


def program(tokens: int) -> bytes:
    """The program of a step."""
    sequences = {tokens: sequences for tokens, sequences, _ in STEPS}[tokens]
    return PROGRAM.format(T=tokens, S=sequences, S1=sequences + 1).encode()


def write_artifact(
    folder: Path,
    document: Mapping[str, Any],
    files: Mapping[str, bytes] | None = None,
    family: str = "xla",
) -> Path:
    """Write the artifact with this plan; `files` are put beside, or in place of, the programs."""
    contents = {f"targets/xla/{tokens}.mlir": program(tokens) for tokens, _, _ in STEPS}
    contents |= {f"targets/{family}/plan.json": json.dumps(document).encode(), **(files or {})}
    contents[form.WEIGHTS] = _weights()
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    manifest = {
        "format": form.FORMAT,
        "format_version": form.FORMAT_VERSION,
        "files": {name: form.describe_file(folder / name).to_json() for name in contents},
        "targets": {family: {}},
    }
    (folder / form.MANIFEST).write_text(json.dumps(manifest))
    return folder


def batch(tokens: list[list[int]], groups: list[int]) -> StepBatch:
    """New sequences of these tokens in these data groups; all rows are wanted."""
    flat = [token for each in tokens for token in each]
    lengths = [len(each) for each in tokens]
    arrays = (
        flat,
        [position for length in lengths for position in range(length)],
        np.cumsum([0, *lengths]),
        [[4 * group, 0, 0, 0] for group in groups],
        range(len(flat)),
    )
    return StepBatch(*(np.array(array, np.int32) for array in arrays))


def _weights() -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "ingot"}}
    data = b""
    for index, part in enumerate(parts()):
        codes = part.reshape(-1, 2) & 15
        packed = (codes[:, 0] | codes[:, 1] << 4).astype(np.uint8).tobytes()
        content = bytes(64) + packed.ljust(64, b"\0")
        places = [len(data), len(data) + len(content)]
        header[f"table@tp{index}"] = {
            "dtype": "U8",
            "shape": [len(content)],
            "data_offsets": places,
        }
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 64)
    return len(text).to_bytes(8, "little") + text + data
