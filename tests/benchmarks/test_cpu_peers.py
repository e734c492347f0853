"""The comparison with other runtimes: its ratios, parsers and workers, without them."""

import subprocess
import sys
from pathlib import Path

import pytest
from peers import bars
from peers.errors import AbsentError
from peers.models import MODELS
from peers.report import Report, read_report
from peers.result import Facts, ModelResult
from peers.runners import Load, WorkerRunner, parse_batched_bench
from peers.store import Absence, Record, Store
from peers.table import aligned

ROOT = Path(__file__).resolve().parents[2]
LIMITS = {"read": 30.0, "int8": 800.0, "bf16": 400.0, "f32": 200.0}
WORKER = """
import os
from peers.protocol import serve
class Fake:
    def load(self, model, threads, tokens, **options):
        self.threads = threads
    def generate(self, sequences, prompt, new, seed):
        os.write(1, b"a library prints")
        if seed == 13:
            raise ValueError("bad luck")
        return {"first": prompt / 100, "tokens": sequences * (new - 1), "rest": self.threads}
serve(Fake)
"""


def record(form: str, number: int, decode: float, disturbed: bool = False) -> Record:
    values = {"prefill": 10 * decode, "decode": decode}
    return Record("qwen2.5-0.5b", "single", form, number, values, LIMITS, disturbed, "")


def result(*records: Record) -> ModelResult:
    facts = {"ingot-int4": Facts(300_000_000, 300_000_000, 12_288.0)}
    return ModelResult(MODELS["qwen2.5-0.5b"], records, facts, {"ingot-int4.ingot": 20.0})


def test_ratio_is_the_median_over_rounds_with_the_best_peer_of_each() -> None:
    found = result(
        *(record("ingot-int4", n, 60.0) for n in range(3)),
        *(record("ort-int4", n, value) for n, value in enumerate((30.0, 60.0, 20.0))),
        *(record("openvino-int4", n, value) for n, value in enumerate((20.0, 10.0, 40.0))),
    )
    assert found.ratio("int4", "single", "decode") == 1.5
    assert found.best_peer("int4", "single", "decode") == "ort-int4"
    assert found.ratio("int8", "single", "decode") is None


def test_disturbed_rounds_do_not_count_where_there_are_others() -> None:
    found = result(record("ingot-int4", 0, 5.0, disturbed=True), record("ingot-int4", 1, 50.0))
    assert found.median("ingot-int4", "single", "decode") == 50.0
    assert result(record("ingot-int4", 0, 5.0, True)).median("ingot-int4", "single", "decode") == 5


def test_read_share_counts_weights_and_the_cache() -> None:
    share = result(record("ingot-int4", 0, 50.0)).read_share("ingot-int4", "single")
    assert share == pytest.approx(50 * (300e6 + (512 + 32.5) * 12_288) / 30e9)


def test_bars_say_what_is_missed() -> None:
    rows = list(bars.rows(result(record("ingot-int4", 0, 60.0), record("ort-int4", 0, 50.0))))
    met = {row.what: row.met for row in rows}
    assert met == {
        "decode at 512, int4": False,
        "prefill of 512, int4": False,
        "compile, int4": True,
    }
    assert rows[0].figure.startswith("1.20 times ort-int4")


def test_linear_weights_are_those_of_the_published_models() -> None:
    """Parameters without embedding, norms and biases."""
    assert MODELS["qwen2.5-0.5b"].linear_weights == 357_826_560
    assert MODELS["llama-3.2-1b"].linear_weights == 973_078_528
    assert MODELS["llama-3.2-1b"].kv_bytes(1, 2) == 32_768


def test_batched_bench_is_parsed_among_other_lines() -> None:
    line = '{"pp": 32, "tg": 48, "pl": 8, "t_pp": 0.5, "t_tg": 3.0, "speed": 1.0}'
    parsed = parse_batched_bench(f"main: n_kv_max = 1024\n\n{line}\n")
    assert parsed == {"first": 0.5, "tokens": 384, "rest": 3.0}
    with pytest.raises(AbsentError, match="0 results"):
        parse_batched_bench("nothing")


def test_workers_answer_and_report_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fake.py").write_text(WORKER)
    monkeypatch.chdir(tmp_path)
    runner = WorkerRunner(Path(sys.executable), "fake", Path("m"), 2, 64)
    found = runner.generate(Load(3, 50, 5), 1)
    assert found == {"first": 0.5, "tokens": 12, "rest": 2}
    with pytest.raises(AbsentError, match="ValueError: bad luck"):
        runner.generate(Load(3, 50, 5), 13)
    assert runner.start() > 0
    assert runner.peak(Load(1, 1, 1)) > 1_000_000
    runner.close()


def test_a_worker_that_ends_is_absent() -> None:
    runner = WorkerRunner(Path(sys.executable), "no_such_module", Path("m"), 2, 64)
    with pytest.raises(AbsentError):
        runner.generate(Load(1, 1, 1), 0)


def test_a_store_continues_and_a_report_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "run.jsonl")
    store.add(record("ingot-int4", 1, 60.0))
    store.add(record("ingot-int4", 0, 50.0))
    again = Store(store.path)
    assert [r.round for r in again.find("qwen2.5-0.5b", "single", "ingot-int4")] == [0, 1]
    machine: dict[str, str | int] = {"processor": "P", "cores": 2}
    absence = Absence("qwen2.5-0.5b", "", "ort-int4", "no wheel")
    report = Report("2026-01-01", machine, 2, [result(*again.records)], [absence])
    (tmp_path / "r.json").write_text(report.as_json())
    text = read_report(tmp_path / "r.json").as_markdown()
    assert text == report.as_markdown()
    assert "| ingot-int4 | 300 " in text and "no wheel" in text and "read 30.0 GB/s" in text


def test_tables_are_aligned() -> None:
    assert aligned([("a", "bcd"), ("ef", "g")]) == "| a  | bcd |\n|----|-----|\n| ef | g   |\n"


def test_the_plan_is_listed_in_a_moment() -> None:
    command = [sys.executable, "benchmarks/cpu_peers.py", "--list", "--parts", "avx2,long"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "llama-3.2-1b   long          3 rounds of ingot-int4" in done.stdout
    assert not [line for line in done.stdout.splitlines() if "avx2" in line and "ort" in line]


def test_make_bench_runs_it() -> None:
    command = ["make", "--no-print-directory", "--dry-run", "bench", "BENCH_ARGUMENTS=--list"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith("benchmarks/cpu_peers.py --list")
