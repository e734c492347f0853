"""What an attention kernel is specialised to, and where its scratch holds what.

A *row* is one query head of one token; a unit of work has count · group rows, which share the keys
and values of one KV head.  A *block* is 4 pages that begin at a multiple of 64 tokens: softmax
goes from block to block.
"""

from dataclasses import dataclass

from ingot.targets.cpu.kernel import SCRATCH_BYTES
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS, KvDtype

from .kv_layout import KvLayout
from .rounding import SinkKind

BLOCK_PAGES = 4
"""Pages of a block."""
BLOCK_TOKENS = BLOCK_PAGES * PAGE_TOKENS
"""Tokens of a block."""
SCORE_BYTES = 4 * BLOCK_TOKENS
"""Bytes of a row of scores, or probabilities, in scratch."""
TASK_TOKENS = 8
"""Most tokens of a task."""
TASK_BYTES = 32
"""Size of a task's record, 8 x i32."""


@dataclass(frozen=True)
class AttentionShape:
    """Heads, scores and cache of one layer; `lm.attention` says what the numbers mean."""

    heads: int
    kv_heads: int
    head_dim: int
    dtype: KvDtype
    scale: float
    window: int = 0
    softcap: float = 0.0
    sink: SinkKind = "float"
    value_dim: int = 0
    causal: bool = True
    chunk: int = 0
    sinks: bool = False
    slopes: bool = False

    @property
    def layout(self) -> KvLayout:
        """Where keys and values lie in a page."""
        return KvLayout(self.dtype, self.head_dim, self.value_dim)

    @property
    def value_features(self) -> int:
        """Features of a value and of a head of the result."""
        return self.layout.value_features

    @property
    def group(self) -> int:
        """Query heads that share a KV head."""
        return self.heads // self.kv_heads

    @property
    def chunks(self) -> int:
        """Vectors of 16 features in a query."""
        return -(-self.head_dim // 16)

    @property
    def value_chunks(self) -> int:
        """Vectors of 16 features in a value."""
        return -(-self.value_features // 16)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of queries in scratch."""
        return 64 * self.chunks

    @property
    def sum_bytes(self) -> int:
        """Bytes of a row of sums of values in scratch."""
        return 64 * self.value_chunks

    @property
    def pass_tokens(self) -> int:
        """Tokens whose rows fit in scratch together: a task is done in passes of so many.

        0 where not even those of one token fit: there is no kernel for such a shape.
        """
        fixed = ScratchLayout(self).queries + 3 * 64
        numbers = 2 + self.slopes + bool(self.chunk)
        per_row = self.row_bytes + self.sum_bytes + 64 + 4 * numbers
        return min(TASK_TOKENS, (SCRATCH_BYTES - fixed) // (per_row * self.group))


@dataclass(frozen=True)
class Blocking:
    """How many rows and vectors of features are held in registers at once.

    `rows` are the numbers of rows that go through a block together, largest first; `products` is
    the most products of a row and a page; `value_rows` and `value_chunks` are those of the sums of
    values.  The bits of a row do not depend on them.
    """

    rows: tuple[int, ...]
    products: int
    value_rows: int
    value_chunks: int

    def pages(self, rows: int) -> int:
        """Return how many pages are scored together: chains of sums that overlap, and queries that
        are read once for all.
        """
        return max(
            count for count in (1, 2, BLOCK_PAGES) if count == 1 or count * rows <= self.products
        )


def blocking_of(shape: AttentionShape, level: Level) -> Blocking:
    """Choose a blocking for a level's registers: any number of a unit's rows must be made up."""
    largest, products = {512: (8, 16), 256: (4, 4), 128: (2, 2)}[level.vector_bits]
    value_rows, value_chunks = {512: (4, 4), 256: (2, 2), 128: (2, 1)}[level.vector_bits]
    smallest = max(d for d in range(1, largest + 1) if shape.group % d == 0)
    if smallest == 1 and shape.group > 1:
        sizes = [largest, 4, 2, 1]
    else:
        sizes = [smallest * (1 << power) for power in (3, 2, 1, 0)]
    rows = tuple(size for size in dict.fromkeys(sizes) if size <= largest)
    return Blocking(rows, products, value_rows, value_chunks)


_MOST_ROWS = 8


@dataclass(frozen=True)
class ScratchLayout:
    """Byte offsets in scratch, for as many rows as a pass may have.

    Each row has its queries, its sums of values, its sum of probabilities a lane, its largest score
    and its position, and where they are wanted the first position of its chunk and its slope.  The
    rows that are scored together have scores, which become probabilities, and factors that rescale
    their sums.  A block has the addresses of the keys and of the values of its pages, and of the
    pages after it; a pass has the last values that it sees, with zeros behind them.
    """

    shape: AttentionShape

    @property
    def _rows(self) -> int:
        return self.shape.pass_tokens * self.shape.group

    scores = 0
    factors = _MOST_ROWS * SCORE_BYTES
    keys = factors + 64
    values = keys + 8 * BLOCK_PAGES
    ahead = values + 8 * BLOCK_PAGES
    tail = keys + 128

    @property
    def queries(self) -> int:
        """Queries, `row_bytes` a row."""
        return self.tail + -(-self.shape.layout.tail_bytes // 64) * 64

    @property
    def sums(self) -> int:
        """Sums of values, `row_bytes` a row."""
        return self.queries + self._rows * self.shape.row_bytes

    @property
    def totals(self) -> int:
        """Sums of probabilities, 16 floats a row."""
        return self.sums + self._rows * self.shape.sum_bytes

    @property
    def largest(self) -> int:
        """Largest scores, one float a row; 64 bytes more can be read."""
        return self.totals + self._rows * 64

    @property
    def positions(self) -> int:
        """Positions, one i32 a row."""
        return self.largest + self._rows * 4 + 64

    @property
    def chunk_starts(self) -> int:
        """First positions of the rows' chunks, one i32 a row, where there are chunks."""
        return self.positions + self._rows * 4

    @property
    def slopes(self) -> int:
        """Slopes in units of log 2, one float a row, where there are slopes."""
        return self.chunk_starts + self._rows * 4 * bool(self.shape.chunk)
