"""ONNX Runtime GenAI in a worker: its generator, one token of every sequence at a time."""

import json
from typing import Any

import numpy as np
import onnxruntime_genai as genai

from .protocol import Generated, clock, prompts, serve


class OrtEngine:
    """A folder with an ONNX graph and `genai_config.json`."""

    def __init__(self) -> None:
        self._model: Any = None

    def load(self, model: str, threads: int, tokens: int, **options: Any) -> None:
        """Open the model; `options` are further session options.

        The KV cache is as long as each request asks for, whatever `tokens` says.
        """
        config = genai.Config(model)
        session = {"intra_op_num_threads": threads, **options}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
        self._model = genai.Model(config)

    def generate(self, sequences: int, prompt: int, new: int, seed: int) -> Generated:
        """Append the prompts, then ask for `new` tokens one by one."""
        params = genai.GeneratorParams(self._model)
        params.set_search_options(
            batch_size=sequences, min_length=prompt + new, max_length=prompt + new, do_sample=False
        )
        requests = np.array(prompts(sequences, prompt, seed), np.int32)
        start = clock()
        generator = genai.Generator(self._model, params)
        generator.append_tokens(requests if sequences > 1 else requests[0])
        generator.generate_next_token()
        middle = clock()
        for _ in range(new - 1):
            generator.generate_next_token()
        end = clock()
        return {"first": middle - start, "tokens": sequences * (new - 1), "rest": end - middle}


if __name__ == "__main__":
    serve(OrtEngine)
