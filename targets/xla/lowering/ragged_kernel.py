"""The ragged paged attention kernel for TPUs that comes with jax, as a call in our programs.

Kernel and layout of pages: `jax.experimental.pallas.ops.tpu.ragged_paged_attention`.  jax traces
the kernel in a process of its own; what it becomes is text that stands in the program, so neither
compiling the program nor running it needs jax.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ingot.errors import UnsupportedError
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

TOPOLOGIES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "v4": ("v4:2x2x1", {"chip_config_name": "megacore"}),
    "v5e": ("v5e:2x2", {}),
    "v5p": ("v5p:2x2x1", {}),
    "v6e": ("v6e:2x2", {}),
    "tpu7x": ("tpu7x:2x2x1", {}),
}
"""A topology with such chips, by the generations that the kernel is made for."""

LANES = 128
BLOCK_TOKENS, BLOCK_QUERIES = 512, 32
"""Tokens of the cache and queries that the kernel takes at once: they fit into any chip's VMEM."""
FAILED = 240.0


@dataclass(frozen=True)
class RaggedKernel:
    """One use of the kernel: the chip, shapes of its operands, and what it computes."""

    chip: str
    queries: tuple[int, int, int]
    pages: tuple[int, int, int, int]
    tables: tuple[int, int]
    dtype: str
    scale: float
    window: int = 0
    softcap: float = 0.0

    def fits(self) -> bool:
        """Return whether the kernel exists for such a chip and such heads, and jax is there."""
        _, heads, size = self.queries
        _, _, combined, pages_size = self.pages
        tiles = combined // 2
        return (
            self.chip in TOPOLOGIES
            and self.dtype == "bfloat16"
            and size == pages_size
            and size % LANES == 0
            and (tiles in (1, 2, 4, 8) or tiles % 8 == 0)
            and heads % tiles == 0
            and find_spec("jax") is not None
        )

    def __call__(
        self, q: Array, pages: Array, lengths: Array, tables: Array, starts: Array, count: Array
    ) -> Array:
        """Return attention `[T, heads, size]` for queries of that shape."""
        operands = [lengths, tables, starts, hlo.full((2,), 0, "i32"), count, q, pages]
        return hlo.custom_call(operands, (self.queries, q.dtype), _traced(self))


@cache
def _traced(kernel: RaggedKernel) -> dict[str, str]:
    """Return the attributes of the call, as MLIR text."""
    topology, options = TOPOLOGIES[kernel.chip]
    sequences, width = kernel.tables
    keywords = {
        "sm_scale": kernel.scale,
        "sliding_window": kernel.window or None,
        "soft_cap": kernel.softcap or None,
        "num_kv_pages_per_block": max(1, min(width, BLOCK_TOKENS // kernel.pages[1])),
        "num_queries_per_block": min(kernel.queries[0], BLOCK_QUERIES),
    }
    request = {
        "topology": topology,
        "options": options,
        "shapes": [
            kernel.queries,
            kernel.pages,
            (sequences,),
            kernel.tables,
            (sequences + 1,),
            (1,),
        ],
        "dtype": kernel.dtype,
        "keywords": keywords,
    }
    # -P: the worker's folder is not one to import from.
    worker = Path(__file__).with_name("ragged_kernel_worker.py")
    done = subprocess.run(
        [sys.executable, "-P", str(worker)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=FAILED,
    )
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise UnsupportedError(
            f"jax cannot trace the attention kernel for {kernel.chip}: {reason}",
            hint='Run pip install "ingot[tpu]", or report the model.',
        )
    attributes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return attributes
