"""Scores windows of token ids with OpenVINO: MODEL WINDOWS.i32 TOKENS_OF_A_WINDOW THREADS."""

import sys
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from .score_common import print_score


def main() -> None:
    """Compile the exported model as its pipelines do, and print the score."""
    folder, windows, tokens, threads = sys.argv[1:]
    properties = {"INFERENCE_NUM_THREADS": int(threads), "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Core().compile_model(
        str(Path(folder) / "openvino_model.xml"), "CPU", properties
    )
    request = model.create_infer_request()

    def logits(window: NDArray[np.int64]) -> NDArray[np.float32]:
        request.reset_state()
        inputs = {
            "input_ids": window[None],
            "attention_mask": np.ones((1, len(window)), np.int64),
            "position_ids": np.arange(len(window))[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        found: NDArray[np.float32] = request.infer(inputs)["logits"][0]
        return found

    print_score(Path(windows), int(tokens), logits)


if __name__ == "__main__":
    main()
