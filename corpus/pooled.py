"""The proof for a model that gives a row for each text.

The last hidden states of transformers, pooled as sentence-transformers would, or the scores of its
own classifier, are what several sequences in one step must come to, and each of them alone.
"""

import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoModelForSequenceClassification, PretrainedConfig

from ingot.runtime.executor import StepBatch

from .check import EXECUTORS, TOLERANCE, generic_ops
from .oracle import randomize
from .result import NotBuilt, Result, Verdict

LENGTHS = (5, 1, 33, 24)
PAGE_TOKENS = 16
KINDS: dict[str, Any] = {"embed": AutoModel, "classify": AutoModelForSequenceClassification}


@dataclass(frozen=True)
class Text:
    """The tokens of a text, and the segment of each."""

    ids: list[int]
    types: list[int]


class PooledOracle:
    """A checkpoint in `folder` and the model that transformers makes of it, in float32."""

    def __init__(self, folder: Path, task: str) -> None:
        self.folder, self.task = folder, task
        options = {"dtype": torch.float32, "attn_implementation": "eager"}
        self._model = KINDS[task].from_pretrained(folder, **options).train(False)
        self.config: PretrainedConfig = self._model.config
        self.architecture = type(self._model).__name__
        self.last = pools_last(self.config)

    def row(self, text: Text) -> NDArray[np.float32]:
        """Return the row of one text."""
        options: dict[str, Any] = {"attention_mask": torch.ones(1, len(text.ids), dtype=torch.long)}
        if "token_type_ids" in inspect.signature(self._model.forward).parameters:
            options["token_type_ids"] = torch.tensor([text.types])
        with torch.inference_mode():
            made = self._model(input_ids=torch.tensor([text.ids]), **options)
        if self.task == "classify":
            scores = made.logits[0]
            row = torch.sigmoid(scores) if self.config.num_labels == 1 else scores
        else:
            hidden = made.last_hidden_state[0]
            pooled = hidden[-1] if self.last else hidden.mean(0)
            row = torch.nn.functional.normalize(pooled, dim=-1)
        found: NDArray[np.float32] = row.float().numpy()
        return found

    def texts(self) -> list[Text]:
        """Return random texts, the second half of each of another segment where there are some."""
        random = np.random.default_rng(5)
        segments = min(getattr(self.config, "type_vocab_size", 0) or 1, 2)
        found = []
        for length in LENGTHS:
            ids = random.integers(3, self.config.vocab_size, length).tolist()
            first = length // 2 if segments > 1 else length
            found.append(Text(ids, [0] * first + [1] * (length - first)))
        return found


def pools_last(config: PretrainedConfig) -> bool:
    """Return whether the model is a decoder, whose last token has seen all others."""
    return bool(getattr(config, "use_cache", False)) and hasattr(config, "num_key_value_heads")


def write_pooled(configs: Iterator[PretrainedConfig], folder: Path, task: str) -> PooledOracle:
    """Save the first configuration with random weights; raises NotBuilt."""
    try:
        config = next(configs)
        torch.manual_seed(0)
        model = KINDS[task].from_config(config, dtype=torch.float32)
        randomize(model)
        model.save_pretrained(folder)
        oracle = PooledOracle(folder, task)
        first, *_, last = oracle.texts()
        if np.abs(oracle.row(first) - oracle.row(last)).max() == 0:
            raise NotBuilt("all texts give the same row")
    except Exception as error:  # whatever transformers raises is said of the configuration
        raise NotBuilt(f"{type(error).__name__}: {error}") from error
    if task == "embed":
        _write_modules(folder, "lasttoken" if oracle.last else "mean_tokens")
    return oracle


def _write_modules(folder: Path, pooling: str) -> None:
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    package = "sentence_transformers.models"
    listed = [{"path": path, "type": f"{package}.{kind}"} for kind, path in kinds]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    mode = {f"pooling_mode_{pooling}": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(mode))


def check_pooled(name: str, oracle: PooledOracle, scratch: Path, executor: str) -> Result:
    """Prove one model; raises whatever the compiler raises."""
    texts = oracle.texts()
    expected = np.stack([oracle.row(text) for text in texts])
    size = oracle.config.vocab_size
    opened, module = EXECUTORS[executor](oracle.folder, scratch, size)
    try:
        together = opened.step(_step(texts)).copy()
        alone = np.concatenate([opened.step(_step([text])).copy() for text in texts])
    finally:
        opened.close()
    error = float(np.abs(together - expected).max() / np.abs(expected).max())
    detail = ""
    if not error <= TOLERANCE:
        detail = f"rows are {error:.1e} off"
    elif executor == "native" and not np.array_equal(together, alone):
        detail = "a row has other bits in company"
    generic = generic_ops(module)
    right = Verdict.GENERIC if generic else Verdict.RAISED
    verdict = Verdict.WRONG if detail else right
    return Result(
        name,
        verdict,
        architecture=oracle.architecture,
        detail=detail,
        error=error,
        generic=generic,
    )


def _step(texts: Sequence[Text]) -> StepBatch:
    """Return the step that runs whole texts, each with pages of its own."""
    ends = np.cumsum([len(text.ids) for text in texts], dtype=np.int32)
    pages = [-(-len(text.ids) // PAGE_TOKENS) for text in texts]
    tables = np.zeros((len(texts), max(pages)), np.int32)
    for row, count in enumerate(pages):
        first = sum(pages[:row])
        tables[row, :count] = np.arange(first, first + count)
    return StepBatch(
        token_ids=np.concatenate([np.array(text.ids, np.int32) for text in texts]),
        positions=np.concatenate([np.arange(len(text.ids), dtype=np.int32) for text in texts]),
        starts=np.concatenate([np.zeros(1, np.int32), ends]),
        block_tables=tables,
        row_ids=ends - 1,
        token_types=np.concatenate([np.array(text.types, np.int32) for text in texts]),
    )
