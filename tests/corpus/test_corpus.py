"""The corpus finds what is wrong: its small models, its comparison, its processes, its table."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from corpus.cases import FAST, Case, all_cases
from corpus.check import TOLERANCE, compare
from corpus.oracle import Oracle, randomize, write_model
from corpus.result import NotBuilt, Result, Verdict
from corpus.results_file import read_results, write_results
from corpus.running import run_cases
from corpus.shrink import small_configs
from corpus.steps import PROMPTS, SCHEDULE, Run, run_schedule
from corpus.table import BEGIN, END, write_table
from ingot.runtime.executor import Limits, StepBatch

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architectures.md"
LEAST_RIGHT = 90


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """A small OLMo-2, configured by its defaults."""
    return write_model(small_configs("olmo2"), tmp_path_factory.mktemp("oracle"))


class Told:
    """An executor that answers what transformers says, but for one position of one sequence."""

    def __init__(self, oracle: Oracle, wrong: int | None = None) -> None:
        self._oracle, self._wrong = oracle, wrong
        self._texts: dict[int, list[int]] = {}
        self.limits = Limits(160, 512, 16, 64, 128)

    def step(self, batch: StepBatch) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        rows = []
        for sequence, start in enumerate(batch.starts[:-1]):
            end = batch.starts[sequence + 1]
            text = self._texts.setdefault(int(batch.block_tables[sequence][0]), [])
            text += batch.token_ids[start:end].tolist()
            assert batch.positions[end - 1] == len(text) - 1
            rows.append(self._oracle.logits(text)[-(end - start) :])
        logits = np.concatenate(rows)
        if self._wrong is not None:
            logits[self._wrong] += 10 * TOLERANCE * np.abs(logits).max()
        return logits

    def close(self) -> None:
        """Nothing is held."""


def test_every_type_of_the_mapping_is_a_case() -> None:
    kinds = {name.partition("/")[0] for name in all_cases()}
    assert kinds >= set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert set(FAST) <= set(all_cases())


def test_the_schedule_takes_every_prompt_in_chunks_and_beside_others() -> None:
    taken = np.array(SCHEDULE).sum(axis=0)
    assert (taken > PROMPTS).all()
    chunks = [step[0] for step in SCHEDULE if step[0] > 1]
    assert len(chunks) == 3 and sum(chunks) == PROMPTS[0]


def test_right_logits_pass_and_one_wrong_row_does_not(oracle: Oracle) -> None:
    error, detail = compare(oracle, run_schedule(Told(oracle), 160))
    assert error < TOLERANCE and not detail
    error, detail = compare(oracle, run_schedule(Told(oracle, wrong=0), 160))
    assert error > TOLERANCE and "sequence 0" in detail


def test_other_tokens_than_the_likeliest_are_wrong(oracle: Oracle) -> None:
    tokens = [5, 6, 7]
    logits = oracle.logits(tokens)
    second = int(np.argsort(logits[-1])[-2])
    run = Run([*tokens, second], prompt=3, pages=[], done=3, logits=dict(enumerate(logits)))
    _, detail = compare(oracle, [run])
    assert "other tokens" in detail


def test_a_shrunk_default_keeps_a_layer_of_every_kind() -> None:
    config = next(small_configs("gemma3_text"))
    assert set(config.layer_types) == {"sliding_attention", "full_attention"}
    assert config.num_hidden_layers == len(config.layer_types) <= 6
    assert config.sliding_window < PROMPTS[0]


def test_no_parameter_stays_at_zero_or_one() -> None:
    config = next(small_configs("gpt_neox"))
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    randomize(model)
    for name, parameter in model.named_parameters():
        assert parameter.numel() == 1 or parameter.std() > 0.01, name


def test_a_model_that_is_never_sound_is_not_built(tmp_path: Path) -> None:
    fields = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 3}
    configs = iter([AutoConfig.for_model("llama", **fields)])
    with pytest.raises(NotBuilt):
        write_model(configs, tmp_path)


def dies() -> Iterator[PretrainedConfig]:
    os._exit(3)


def hangs() -> Iterator[PretrainedConfig]:
    time.sleep(60)
    yield from ()


def test_a_crash_and_a_hang_cost_only_themselves() -> None:
    cases = [Case("dies", dies), Case("hangs", hangs)]
    dead, hung = run_cases(cases, "reference", time_limit=1.0)
    assert dead.verdict is hung.verdict is Verdict.BROKEN
    assert "code 3" in dead.detail and "within 1 s" in hung.detail
    assert torch.get_num_threads() >= 1


def test_results_survive_their_file(tmp_path: Path) -> None:
    one = Result("a", Verdict.GENERIC, "A", error=1e-6, generic={"torch.aten.square": 2})
    write_results(tmp_path / "r.json", {"a": one})
    assert read_results(tmp_path / "r.json") == {"a": one}


def test_the_table_stands_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    refused = Result("b", Verdict.REFUSED, detail="no | such\n op " + "x" * 300)
    results = [refused, Result("a", Verdict.RAISED, "A")]
    write_table(document, results)
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert text.index("| `a` |") < text.index("| `b` |")
    assert "1 of 2 right: 1 raised, 1 refused" in text


def test_the_page_is_in_the_format_of_the_script() -> None:
    text = PAGE.read_text()
    table = text[text.index(BEGIN) : text.index(END)]
    rows = re.findall(r"^\| `([^`]+)` \| (\w*) \| ([\w ]+) \| (.*) \|$", table, re.MULTILINE)
    assert rows and len(rows) == table.count("\n| `")
    assert {name for name, *_ in rows} <= set(all_cases())
    assert {verdict for _, _, verdict, _ in rows} <= {str(verdict) for verdict in Verdict}
    names = [name for name, *_ in rows]
    assert names == sorted(names)
    verdicts = Counter(verdict for _, _, verdict, _ in rows)
    assert not verdicts[str(Verdict.WRONG)] and not verdicts[str(Verdict.BROKEN)]
    assert verdicts[str(Verdict.RAISED)] + verdicts[str(Verdict.GENERIC)] >= LEAST_RIGHT
