"""A tiny exact model as an artifact, with kernels compiled from C++, and what it must compute."""

import json
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ingot.runtime import artifact_format as form
from ingot.runtime.artifact import Artifact
from ingot.runtime.executor import StepBatch
from ingot.runtime.native_executor import NativeExecutor

VOCAB = 100
PANELS = 7  # of 16 outputs
WIDTH = 16
PAGE = 16
ROW_BYTES = 4 * WIDTH
LOGITS_BYTES = 512  # more than PANELS · 64, so that rows of logits are apart
EMBED, WRITE, ATTEND, SELECT, HEAD = range(5)
X, Y, Z, LOGITS = range(4)

Plan = dict[str, Any]


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The object file of the tiny model's kernels."""
    path = tmp_path_factory.mktemp("kernels") / "kernels.o"
    source = Path(__file__).with_name("kernels.cpp")
    subprocess.run(["g++", "-std=c++20", "-O1", "-fPIC", "-c", source, "-o", path], check=True)
    return path.read_bytes()


def make_plan(delay_ms: int = 0) -> Plan:
    """The tiny model's plan; the embedding dawdles for `delay_ms` on all threads but one."""
    return {
        "version": 3,
        "limits": {"vocab_size": VOCAB, "max_positions": 200, "page_tokens": PAGE},
        "kv_cache": {
            "dtype": "float32",
            "layers": [
                {
                    "layer": 0,
                    "kv_heads": 1,
                    "head_dim": 8,
                    "value_dim": 8,
                    "bytes_per_page": PAGE * ROW_BYTES,
                }
            ],
        },
        "buffers": [
            {"name": "x", "rows": "tokens", "row_bytes": ROW_BYTES, "offset_bytes": 0},
            {"name": "y", "rows": "tokens", "row_bytes": ROW_BYTES, "offset_bytes": 64},
            {"name": "z", "rows": "rows", "row_bytes": ROW_BYTES, "offset_bytes": 128},
            {"name": "logits", "rows": "rows", "row_bytes": LOGITS_BYTES, "offset_bytes": 192},
        ],
        "launches": [
            _launch("embed", "tokens", {"per_row": 1}, X, "token_ids", "positions")
            | {"slots": [*_slots(X, "token_ids", "positions", "table"), ["int", delay_ms]]},
            _launch("write_cache", "tokens", {"per_row": 1}, X, "slots", "kv"),
            _launch("attend", "tokens", {"tasks": 1}, Y, "tasks", "block_tables", "kv"),
            _launch("pick_rows", "rows", {"per_row": 1}, Z, Y, "row_ids"),
            _launch("head", "rows", {"count": PANELS}, LOGITS, Z, "head")
            | {
                "kernels": [[1, "head_for_one"], [None, "head_for_any"]],
                "grain": 2,
                "slots": [
                    *_slots(LOGITS, Z, "head"),
                    ["field", "rows"],
                    ["int", LOGITS_BYTES // 4],
                ],
            },
        ],
        "logits": LOGITS,
    }


def _launch(symbol: str, rows: str, units: dict[str, int], *slots: int | str) -> dict[str, Any]:
    return {
        "name": symbol,
        "kernels": [[None, symbol]],
        "rows": rows,
        "units": units,
        "grain": 1,
        "barrier": True,
        "slots": _slots(*slots),
    }


def _slots(*slots: int | str) -> list[list[Any]]:
    def one(slot: int | str) -> list[Any]:
        if isinstance(slot, int):
            return ["buffer", slot, 0]
        if slot in ("table", "head"):
            return ["weight", slot, 0]
        return ["kv", 0] if slot == "kv" else ["input", slot]

    return [one(slot) for slot in slots]


def make_weights() -> dict[str, NDArray[np.float32]]:
    """`table` and `head`: small integers, [112, 16] (the vocabulary rounded up to a panel)."""
    rng = np.random.default_rng(7)
    shape = (PANELS * 16, WIDTH)
    return {name: rng.integers(-3, 4, shape).astype(np.float32) for name in ("table", "head")}


def write_artifact(folder: Path, plan: Plan, files: dict[str, bytes]) -> Path:
    """Write the tiny model's artifact, with `files` beside plan and weights."""
    weights = make_weights()
    contents = {
        form.WEIGHTS: pack_weights({name: w.tobytes() for name, w in weights.items()}),
        form.CPU_PLAN: json.dumps(plan).encode(),
        "config.json": b'{"model_type": "tiny"}',
        **files,
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_manifest(folder, list(contents))
    return folder


def pack_weights(tensors: dict[str, bytes]) -> bytes:
    """A safetensors file; the sizes of its tensors are multiples of 64 bytes already."""
    header: dict[str, Any] = {"__metadata__": {"format": form.FORMAT}}
    offset = 0
    for name, data in tensors.items():
        end = offset + len(data)
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


def write_manifest(folder: Path, names: list[str]) -> None:
    manifest = {
        "format": form.FORMAT,
        "format_version": form.FORMAT_VERSION,
        "ingot_version": "0",
        "files": {name: form.describe_file(folder / name).to_json() for name in names},
    }
    (folder / form.MANIFEST).write_text(json.dumps(manifest))


@dataclass
class TinyModel:
    """What the kernels must compute, in numpy, with a KV cache of its own."""

    pages: int = 64
    weights: dict[str, NDArray[np.float32]] = field(default_factory=make_weights)

    def __post_init__(self) -> None:
        self.cache = np.zeros((self.pages * PAGE, WIDTH))

    def step(self, batch: StepBatch) -> NDArray[np.float64]:
        entries = self.weights["table"][batch.token_ids] + (batch.positions % 3)[:, None]
        places = [self._places(batch, token) for token in range(len(batch.token_ids))]
        for entry, token_places in zip(entries, places, strict=True):
            self.cache[token_places[-1]] = entry
        factors = np.arange(200) % 5 + 1
        attended = np.array([factors[: len(p)] @ self.cache[p] for p in places])
        bias = 0.25 if len(batch.row_ids) == 1 else 0.0
        return attended[batch.row_ids] @ self.weights["head"][:VOCAB].T + bias

    def _places(self, batch: StepBatch, token: int) -> NDArray[np.int64]:
        """Where in the cache positions 0 … the token's stand."""
        sequence = int(np.searchsorted(batch.starts, token, side="right")) - 1
        positions = np.arange(int(batch.positions[token]) + 1)
        return batch.block_tables[sequence][positions // PAGE] * PAGE + positions % PAGE


def make_batch(
    sequences: list[tuple[list[int], int, list[int]]], rows: list[int] | None = None
) -> StepBatch:
    """A batch of (tokens, position of the first, pages); `rows` default to all tokens."""
    lengths = [len(tokens) for tokens, _, _ in sequences]
    blocks = max(len(pages) for _, _, pages in sequences)
    tables = [pages + [0] * (blocks - len(pages)) for _, _, pages in sequences]
    positions = [np.arange(first, first + len(tokens)) for tokens, first, _ in sequences]
    return StepBatch(
        token_ids=np.array([t for tokens, _, _ in sequences for t in tokens], np.int32),
        positions=np.concatenate(positions).astype(np.int32),
        starts=np.cumsum([0, *lengths]).astype(np.int32),
        block_tables=np.array(tables, np.int32).reshape(len(sequences), blocks),
        row_ids=np.array(range(sum(lengths)) if rows is None else rows, np.int32),
    )


@pytest.fixture
def make_executor(kernels: bytes, tmp_path: Path) -> Iterator[Callable[..., NativeExecutor]]:
    """`make_executor(plan=…, options of NativeExecutor…)`: the tiny model, ready to run."""
    opened: list[NativeExecutor] = []

    def make(plan: Plan | None = None, **options: Any) -> NativeExecutor:
        folder = tmp_path / f"{len(opened)}.ingot"
        files = {form.CPU_KERNELS.format(level="generic"): kernels}
        artifact = Artifact.open(write_artifact(folder, plan or make_plan(), files))
        opened.append(NativeExecutor(artifact, **({"kv_pages": 64} | options)))
        return opened[-1]

    yield make
    for executor in opened:
        executor.close()


@dataclass(frozen=True)
class Tiny:
    """The helpers of this folder, for tests to reach by a fixture."""

    plan: Callable[..., Plan] = make_plan
    batch: Callable[..., StepBatch] = make_batch
    model: Callable[..., TinyModel] = TinyModel
    write_artifact: Callable[..., Path] = write_artifact
    write_manifest: Callable[..., None] = write_manifest
    pack_weights: Callable[..., bytes] = pack_weights


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    return Tiny()
