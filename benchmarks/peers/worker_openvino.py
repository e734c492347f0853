"""OpenVINO GenAI in a worker: its continuous batching engine, stepped one token at a time."""

from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

from .protocol import Generated, clock, prompts, serve

BLOCK_TOKENS = 32
"""Of the CPU plug-in's KV cache."""
BATCHED_TOKENS = 4096
"""The longest prompt of a run, so that none is cut into chunks."""


class OpenVinoEngine:
    """A folder of OpenVINO's intermediate representation."""

    def __init__(self) -> None:
        self._pipeline: Any = None
        self._next = 0

    def load(self, model: str, threads: int, tokens: int, **options: Any) -> None:
        """Compile the model; `options` are properties of the plug-in."""
        scheduler = genai.SchedulerConfig()
        scheduler.max_num_batched_tokens = BATCHED_TOKENS
        scheduler.num_kv_blocks = -(-tokens // BLOCK_TOKENS)
        scheduler.enable_prefix_caching = False
        properties = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **options}
        self._pipeline = genai.ContinuousBatchingPipeline(model, scheduler, "CPU", properties)

    def generate(self, sequences: int, prompt: int, new: int, seed: int) -> Generated:
        """Step until every sequence has a token, then `new` - 1 steps more."""
        config = genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = new, True, False
        requests = [np.array([each], np.int64) for each in prompts(sequences, prompt, seed)]
        start = clock()
        handles = []
        for each in requests:
            self._next += 1
            handles.append(self._pipeline.add_request(self._next, ov.Tensor(each), config))
        counts = [0] * sequences
        while min(counts) == 0:
            self._step(handles, counts)
        middle, before = clock(), sum(counts)
        while max(counts) < new:
            self._step(handles, counts)
        end, after = clock(), sum(counts)
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        return {"first": middle - start, "tokens": after - before, "rest": end - middle}

    def _step(self, handles: list[Any], counts: list[int]) -> None:
        self._pipeline.step()
        for number, handle in enumerate(handles):
            while handle.can_read():
                for output in handle.read().values():
                    counts[number] += len(output.generated_ids)


if __name__ == "__main__":
    serve(OpenVinoEngine)
