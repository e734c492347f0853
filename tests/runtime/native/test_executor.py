"""The native executor on a tiny exact model: every bit, bad batches, plans that do not fit."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.errors import ArtifactError, UsageError
from ingot.runtime import artifact_format as form
from ingot.runtime.artifact import Artifact
from ingot.runtime.executor import StepBatch
from ingot.runtime.native_executor import NativeExecutor

Make = Callable[..., NativeExecutor]
PAGES = [5, 2, 9, 1, 33]


def tokens(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, 100, count).tolist()


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_prefill_and_decode_in_company(make_executor: Make, tiny: Any, threads: int) -> None:
    executor, model = make_executor(threads=threads), tiny.model()
    assert executor.threads == threads
    first = tiny.batch([(tokens(37), 0, PAGES[:3]), (tokens(3, 1), 0, [7])], rows=[36, 39])
    then = tiny.batch(
        [([4], 37, PAGES[:3]), (tokens(20, 2), 3, [7, 8]), (tokens(9, 3), 0, [40])], [0, 20, 29]
    )
    for batch in (first, then):
        logits = executor.step(batch)
        assert logits.dtype == np.float32 and logits.shape == (len(batch.row_ids), 100)
        np.testing.assert_array_equal(logits, model.step(batch))


def test_many_random_steps_on_more_threads_than_cpus(make_executor: Make, tiny: Any) -> None:
    executor, model, rng = make_executor(threads=4), tiny.model(), np.random.default_rng(3)
    lengths = [0, 0, 0]
    for step in range(300):
        news = rng.integers(1, 8, 3).tolist()
        lengths = [0 if have + new > 60 else have for have, new in zip(lengths, news, strict=True)]
        batch = tiny.batch(
            [
                (tokens(new, step + i), have, list(range(20 * i + 1, 20 * i + 5)))
                for i, (have, new) in enumerate(zip(lengths, news, strict=True))
            ],
            rows=sorted(rng.choice(sum(news), rng.integers(0, 4), replace=False).tolist()),
        )
        np.testing.assert_array_equal(executor.step(batch), model.step(batch), str(step))
        lengths = [have + new for have, new in zip(lengths, news, strict=True)]


@pytest.mark.parametrize("chunk", [1, 5, 16, 64])
def test_a_prompt_in_chunks_gives_the_same_bits(make_executor: Make, tiny: Any, chunk: int) -> None:
    whole, pieces = make_executor(), make_executor()
    prompt = tokens(64)
    expected = whole.step(tiny.batch([(prompt, 0, PAGES[:4])], rows=[62, 63]))[1]
    for start in range(0, 62, chunk):
        part = prompt[start : min(start + chunk, 62)]
        assert pieces.step(tiny.batch([(part, start, PAGES[:4])], rows=[])).shape == (0, 100)
    last = pieces.step(tiny.batch([(prompt[62:], 62, PAGES[:4])]))
    np.testing.assert_array_equal(last[1], expected)


def test_the_variant_is_chosen_by_the_rows(make_executor: Make, tiny: Any) -> None:
    executor = make_executor()
    one = executor.step(tiny.batch([([1, 2], 0, [3])], rows=[1]))[0].copy()
    two = executor.step(tiny.batch([([1, 2], 0, [3])], rows=[0, 1]))[1]
    np.testing.assert_array_equal(one, two + 0.25)


def test_a_skipped_launch_still_stands_for_its_barrier(make_executor: Make, tiny: Any) -> None:
    plan = tiny.plan(delay_ms=30)
    plan["launches"][0]["barrier"] = False
    nothing = plan["launches"][3] | {"kernels": [[None, "nothing"]], "slots": []}
    plan["launches"].insert(1, nothing)  # over rows, and the first step has none
    executor, model = make_executor(plan, threads=2), tiny.model()
    for batch in (
        tiny.batch([(tokens(8), 0, [3])], rows=[]),
        tiny.batch([([5], 8, [3])]),
    ):
        logits, expected = executor.step(batch), model.step(batch)
    np.testing.assert_array_equal(logits, expected)


def broken_batches() -> dict[str, tuple[dict[str, Any], str]]:
    """What makes a sound batch of two sequences (5 and 2 tokens, 1 page each) unsound."""

    def ints(*values: int) -> Any:
        return np.array(values, np.int32)

    return {
        "token too large": ({"token_ids": ints(0, 1, 2, 3, 100, 5, 6)}, r"token_ids\[4\] is 100"),
        "token negative": ({"token_ids": ints(-1, 1, 2, 3, 4, 5, 6)}, r"token_ids\[0\] is -1"),
        "no tokens": ({"token_ids": ints(), "positions": ints()}, "0 tokens"),
        "too many": ({"token_ids": ints(*[0] * 600)}, "600 tokens"),
        "fewer positions": ({"positions": ints(0, 1)}, "2 positions for 7 tokens"),
        "position jumps": ({"positions": ints(0, 1, 2, 3, 5, 0, 1)}, r"positions\[4\]"),
        "position too large": ({"positions": ints(0, 1, 2, 3, 4, 199, 200)}, "200, outside 0"),
        "position negative": ({"positions": ints(-1, 0, 1, 2, 3, 0, 1)}, "is -1"),
        "no pages": ({"positions": ints(0, 1, 2, 3, 4, 15, 16)}, "needs 2 pages"),
        "page too large": ({"block_tables": ints(0, 64)[:, None]}, r"\[1\]\[0\] is 64"),
        "page negative": ({"block_tables": ints(-1, 1)[:, None]}, r"\[0\]\[0\] is -1"),
        "tables missing": ({"block_tables": ints(1)[:, None]}, "1 rows for 2 sequences"),
        "tables empty": ({"block_tables": np.zeros((2, 0), np.int32)}, "needs 1 pages"),
        "starts late": ({"starts": ints(1, 5, 7)}, "starts does not run"),
        "starts short": ({"starts": ints(0, 5, 6)}, "starts does not run"),
        "starts far": ({"starts": ints(0, 9, 7)}, "starts"),
        "starts back": ({"starts": ints(0, -5, 7)}, "starts"),
        "starts lone": ({"starts": ints(0)}, "starts does not run"),
        "empty sequence": (
            {"starts": ints(0, 5, 5, 7), "block_tables": ints(1, 2, 3)[:, None]},
            r"starts\[2\]",
        ),
        "row too large": ({"row_ids": ints(7)}, r"row_ids\[0\] is 7"),
        "row negative": ({"row_ids": ints(-1, 1)}, "is -1"),
        "row twice": ({"row_ids": ints(1, 1)}, r"row_ids\[1\]"),
    }


@pytest.mark.parametrize("change", broken_batches().values(), ids=broken_batches().keys())
def test_a_broken_batch_is_refused_and_changes_nothing(
    make_executor: Make, tiny: Any, change: tuple[dict[str, Any], str]
) -> None:
    executor, model = make_executor(), tiny.model()
    sound = tiny.batch([(tokens(5), 0, [3]), (tokens(2, 1), 0, [4])])
    executor.step(sound)
    model.step(sound)
    fields, message = change
    with pytest.raises(ValueError, match=message):
        executor.step(replace(sound, **fields))
    later = tiny.batch([([1], 5, [3]), ([2], 2, [4])])
    np.testing.assert_array_equal(executor.step(later), model.step(later))


@pytest.mark.parametrize(
    "wrong",
    [np.zeros(7, np.int64), np.zeros(7, np.float32), np.zeros((7, 1), np.int32), [0] * 7],
)
def test_arrays_of_another_type_are_refused(make_executor: Make, tiny: Any, wrong: Any) -> None:
    sound = tiny.batch([(tokens(7), 0, [3])])
    with pytest.raises(TypeError):
        make_executor().step(replace(sound, token_ids=wrong, positions=wrong))


def test_strided_arrays_are_fine(make_executor: Make, tiny: Any) -> None:
    batch = tiny.batch([(tokens(5), 0, [3, 6]), (tokens(2, 1), 0, [4])])
    strided = StepBatch(
        *(
            np.repeat(getattr(batch, name), 2, axis=-1)[..., ::2]
            for name in ("token_ids", "positions", "starts", "block_tables", "row_ids")
        )
    )
    assert not strided.block_tables.flags.c_contiguous
    np.testing.assert_array_equal(make_executor().step(strided), tiny.model().step(batch))


def test_noise_never_crashes(make_executor: Make) -> None:
    executor, rng, refused = make_executor(max_step_tokens=16), np.random.default_rng(11), 0

    def noise(*shape: int) -> Any:
        high = int(rng.choice([2, 8, 70, 2**31 - 1]))
        return rng.integers(int(rng.choice([0, -3])), high, shape).astype(np.int32)

    for _ in range(3000):
        count, sequences = int(rng.integers(0, 20)), int(rng.integers(0, 4))
        starts = noise(sequences + 1)
        if rng.random() < 0.7 and sequences:
            starts = np.linspace(0, count, sequences + 1).astype(np.int32)
        positions = noise(count)
        if rng.random() < 0.7 and sequences:
            positions = (np.arange(count) + 1000 * (rng.random() < 0.1)).astype(np.int32)
        tables = noise(sequences, int(rng.integers(0, 4)))
        rows = np.arange(min(count, 3), dtype=np.int32) if rng.random() < 0.5 else noise(2)
        batch = StepBatch(np.abs(noise(count)), positions, starts, tables, rows)
        try:
            executor.step(batch)
        except ValueError:
            refused += 1
    assert 100 < refused < 3000


def test_the_gil_is_released_and_a_second_step_refused(make_executor: Make, tiny: Any) -> None:
    executor = make_executor(tiny.plan(delay_ms=1000), threads=2)
    batch = tiny.batch([(tokens(4), 0, [3])])
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(executor.step(batch).copy()))
    start = time.perf_counter()
    thread.start()
    time.sleep(0.2)
    with pytest.raises(ValueError, match="already running"):
        executor.step(batch)
    with pytest.raises(ValueError, match="a step is running"):
        executor.close()
    assert time.perf_counter() - start < 0.8, "the step held the GIL"
    thread.join()
    np.testing.assert_array_equal(results[0], tiny.model().step(batch))


def test_close_keeps_the_last_logits_readable(make_executor: Make, tiny: Any) -> None:
    executor, batch = make_executor(), tiny.batch([(tokens(4), 0, [3])])
    logits = executor.step(batch)
    executor.close()
    executor.close()
    np.testing.assert_array_equal(logits, tiny.model().step(batch))
    with pytest.raises(ValueError, match="closed"):
        executor.step(batch)


def test_the_profile_names_every_launch(make_executor: Make, tiny: Any) -> None:
    executor, batch = make_executor(), tiny.batch([(tokens(4), 0, [3])])
    executor.step(batch)
    assert executor.last_profile() == []
    executor.set_profiling(True)
    executor.step(batch)
    profile = executor.last_profile()
    assert [name for name, _ in profile] == ["embed", "write_cache", "attend", "pick_rows", "head"]
    assert all(0 <= seconds < 1 for _, seconds in profile)


def test_limits(make_executor: Make) -> None:
    limits = make_executor(max_step_tokens=20, kv_pages=None, kv_memory=50_000).limits
    assert (limits.vocab_size, limits.max_positions, limits.page_tokens) == (100, 200, 16)
    assert limits.num_pages == 50_000 // 1024
    assert limits.max_step_tokens == 32
    with pytest.raises(UsageError, match="hold no page"):
        make_executor(kv_pages=None, kv_memory=1000)
    with pytest.raises(UsageError, match="0 threads"):
        make_executor(threads=0)
    with pytest.raises(UsageError, match="KV cache of 0 pages"):
        make_executor(kv_pages=0)


def edit(path: list[Any], value: Any) -> Callable[[Any], None]:
    def change(plan: Any) -> None:
        for key in path[:-1]:
            plan = plan[key]
        plan[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["version"], 1, "plan version 1"),
        (["logits"], 4, "no such buffer"),
        (["logits"], 0, "does not hold a row of float32"),
        (["limits"], {}, "'vocab_size' is missing"),
        (["kv_cache", "layers", 0, "bytes_per_page"], 100, "no multiple of 64"),
        (["buffers", 0, "offset_bytes"], 32, "multiples of 64"),
        (["buffers", 0, "rows"], "columns", "'columns' is missing"),
        (["launches"], [], "there is none"),
        (["launches", 0, "kernels"], [], "no kernel"),
        (["launches", 0, "kernels"], [[None, "absent"]], "cannot be linked"),
        (["launches", 0, "kernels"], [[4, "embed"]], "every number of rows"),
        (["launches", 0, "kernels"], [[None, "embed"], [4, "embed"]], "not in the order"),
        (["launches", 0, "units"], {"pages": 1}, "'pages' is missing"),
        (["launches", 0, "grain"], 0, "out of range"),
        (["launches", 0, "grain"], None, "incompatible function arguments"),
        (["launches", 0, "slots", 0], ["buffer", 9, 0], "a buffer that is not there"),
        (["launches", 0, "slots", 0], ["buffer", 0, 65], "outside of the buffer"),
        (["launches", 0, "slots", 3], ["weight", "absent", 0], "'absent' is missing"),
        (["launches", 0, "slots", 3], ["weight", "table", 1 << 40], "outside of the weight"),
        (["launches", 1, "slots", 2], ["kv", 1], "a layer of the KV cache"),
        (["launches", 1, "slots", 1], ["input", "rows"], "unknown slot"),
        (["launches", 1, "slots", 1], ["secret"], "unknown slot"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(
    make_executor: Make, tiny: Any, path: list[Any], value: Any, message: str
) -> None:
    plan = tiny.plan()
    edit(path, value)(plan)
    with pytest.raises(ArtifactError, match=message):
        make_executor(plan)


def test_the_level(
    kernels: bytes, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {form.CPU_KERNELS.format(level=level): kernels for level in ("generic", "avx512")}
    monkeypatch.setattr("ingot.runtime._native.cpu_level", lambda: "avx2")
    artifact = Artifact.open(tiny.write_artifact(tmp_path / "a", tiny.plan(), both))
    assert NativeExecutor(artifact, kv_pages=1).level == "generic"
    monkeypatch.setattr("ingot.runtime._native.cpu_level", lambda: "avx512")
    assert NativeExecutor(artifact, kv_pages=1).level == "avx512"
    monkeypatch.setattr("ingot.runtime._native.cpu_level", lambda: "avx512bf16")
    assert NativeExecutor(artifact, kv_pages=1).level == "avx512"
    monkeypatch.setenv("INGOT_CPU_LEVEL", "generic")
    assert NativeExecutor(artifact, kv_pages=1).level == "generic"
    for level, message in (("avx2", "kernels for avx2 cannot be used"), ("sse", "expected")):
        monkeypatch.setenv("INGOT_CPU_LEVEL", level)
        with pytest.raises(UsageError, match=message):
            NativeExecutor(artifact, kv_pages=1)
    monkeypatch.delenv("INGOT_CPU_LEVEL")
    monkeypatch.setattr("ingot.runtime._native.cpu_level", lambda: "generic")
    del both[form.CPU_KERNELS.format(level="generic")]
    only = Artifact.open(tiny.write_artifact(tmp_path / "b", tiny.plan(), both))
    with pytest.raises(ArtifactError, match="kernels for avx512, this machine runs generic"):
        NativeExecutor(only, kv_pages=1)
    bare = Artifact.open(tiny.write_artifact(tmp_path / "c", tiny.plan(), {}))
    with pytest.raises(ArtifactError, match="not compiled for the CPU"):
        NativeExecutor(bare, kv_pages=1)
