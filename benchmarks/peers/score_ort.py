"""Scores windows of token ids with ONNX Runtime: MODEL WINDOWS.i32 TOKENS_OF_A_WINDOW THREADS."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .score_common import print_score


def main() -> None:
    """Open the graph that the builder wrote, without its generator, and print the score."""
    folder, windows, tokens, threads = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(
        str(Path(folder) / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    decoder = json.loads((Path(folder) / "genai_config.json").read_text())["model"]["decoder"]
    empty = (1, decoder["num_key_value_heads"], 0, decoder["head_size"])
    caches = {
        each.name: np.zeros(empty, np.float32)
        for each in session.get_inputs()
        if each.name.startswith("past_key_values")
    }
    names = {each.name for each in session.get_inputs()}

    def logits(window: NDArray[np.int64]) -> NDArray[np.float32]:
        inputs = {
            "input_ids": window[None],
            "attention_mask": np.ones((1, len(window)), np.int64),
            "position_ids": np.arange(len(window))[None],
        }
        given = {name: value for name, value in inputs.items() if name in names}
        found: NDArray[np.float32] = session.run(["logits"], given | caches)[0][0]
        return found

    print_score(Path(windows), int(tokens), logits)


if __name__ == "__main__":
    main()
