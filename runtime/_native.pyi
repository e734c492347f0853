"""Types of the native runtime; `runtime/native/*.h` holds the contracts.

Every function raises `Error` for what its caller got wrong, and changes nothing in that case.
"""

import enum
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

class Error(ValueError): ...

def cpu_level() -> str:
    """The highest level that this machine runs: avx512bf16, avx512, avx2 or generic."""

def bf16_speed() -> float:
    """Products a second by `vdpbf16ps` over those by FMA of float32; 0 without the instruction."""

class ResidentFile:
    """A file in memory: mapped at once, moved to huge pages in the background when asked to."""

    def __init__(self, path: str) -> None: ...
    @property
    def content(self) -> NDArray[np.uint8]:
        """The bytes, read-only; the array keeps them."""
    def settle(self) -> None:
        """Begin to move, once."""
    def wait(self) -> None:
        """Wait until what can be moved is."""

class CodeObject:
    """A relocatable x86-64 object file, loaded and linked into this process while this lives."""

    def __init__(self, image: bytes) -> None: ...
    @property
    def functions(self) -> dict[str, int]:
        """The addresses of the global functions that it defines."""

class ThreadTeam:
    def __init__(self, size: int, most_phases: int = 1) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def active(self) -> int:
        """How many members take part; less than `size` beside a busy process."""
    def check_sharing(
        self,
        phases: Sequence[tuple[int, bool]],
        rounds: int = 1,
        late_member: int = -1,
        delay: float = 0.0,
    ) -> tuple[float, int, list[int]]:
        """Share phases of (grains, whether in turn): (seconds, violations, grains by member).

        A violation is a grain that is not executed once, or before the phase before is complete.
        `late_member` sleeps for `delay` seconds whenever it has taken something.
        """

class Rows(enum.Enum):
    tokens = ...
    rows = ...

class UnitKind(enum.Enum):
    count = ...
    per_row = ...
    tasks = ...
    sequences = ...

class SlotKind(enum.Enum):
    buffer = ...
    weight = ...
    integer = ...
    kv = ...
    state = ...
    tokens = ...
    rows = ...
    token_ids = ...
    positions = ...
    row_ids = ...
    slots = ...
    tasks = ...
    block_tables = ...
    block_stride = ...
    token_types = ...
    starts = ...
    sequences = ...

class Buffer:
    def __init__(self, name: str, rows: Rows, row_bytes: int, offset_bytes: int) -> None: ...

class Weight:
    def __init__(self, name: str, address: int, bytes: int) -> None: ...

class Slot:
    def __init__(self, kind: SlotKind, index: int = 0, offset: int = 0) -> None: ...

class Variant:
    def __init__(self, max_rows: int, kernel: int) -> None:
        """`max_rows` -1 serves any number of rows; `kernel` is an address."""

class Launch:
    def __init__(
        self,
        name: str,
        variants: Sequence[Variant],
        rows: Rows,
        unit_kind: UnitKind,
        units: int,
        grain: int,
        barrier: bool,
        slots: Sequence[Slot],
    ) -> None: ...

class Plan:
    def __init__(
        self,
        vocab_size: int,
        max_positions: int,
        page_tokens: int,
        row_width: int,
        token_types: int,
        kv_page_bytes: Sequence[int],
        state_bytes: Sequence[int],
        logits: int,
        buffers: Sequence[Buffer],
        weights: Sequence[Weight],
        launches: Sequence[Launch],
    ) -> None: ...
    def validate(self) -> None: ...
    @property
    def arena_bytes_per_row(self) -> int: ...

class Executor:
    """Kernels and weights must outlive it; it owns arena, KV cache, states and threads."""

    def __init__(
        self, plan: Plan, max_step_tokens: int, pages: int, state_slots: int, threads: int
    ) -> None:
        """`state_slots` is read where the plan has states."""
    def step(
        self,
        token_ids: NDArray[np.int32],
        positions: NDArray[np.int32],
        starts: NDArray[np.int32],
        block_tables: NDArray[np.int32],
        row_ids: NDArray[np.int32],
        token_types: NDArray[np.int32],
        state_slots: NDArray[np.int32],
    ) -> NDArray[np.float32]:
        """Run a step; the arrays are contiguous.  Returns a view that the next step overwrites."""
    def decode(
        self,
        *,
        token_ids: NDArray[np.int32],
        positions: NDArray[np.int32],
        block_tables: NDArray[np.int32],
        state_slots: NDArray[np.int32],
        end_ids: Sequence[Sequence[int]],
        states: Sequence[SamplerState],
        steps: int,
        seconds: float,
    ) -> Decoded:
        """Decode up to `steps` steps; see `DecodeBatch` in executor.py."""
    def interrupt(self, on: bool) -> None: ...
    def close(self) -> None: ...
    @property
    def threads(self) -> int: ...
    @property
    def active_threads(self) -> int:
        """How many take part at present; less than `threads` beside a busy process."""
    @property
    def max_step_tokens(self) -> int:
        """The capacity: what was asked for, rounded up to 16."""
    def set_profiling(self, on: bool) -> None: ...
    def last_profile(self) -> list[tuple[str, float]]:
        """Name and seconds of each launch of the last step, where profiling was on."""
    def last_waits(self) -> list[float]:
        """Seconds of each launch of the last step in which the calling thread only waited."""

class SamplerParams:
    def __init__(
        self,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        logit_bias: Sequence[tuple[int, float]] = ...,
        seed: int = 0,
        logprobs: int | None = None,
    ) -> None:
        """temperature 0: greedy.  top_k ≤ 0: all.  logprobs n: of the token and of the n best."""

class Sampled:
    @property
    def token(self) -> int: ...
    @property
    def logprob(self) -> float | None:
        """Of the logits as they came; None where the parameters ask for none."""
    @property
    def top(self) -> list[tuple[int, float]]:
        """The most likely tokens with their log probabilities, best first."""

class SamplerState:
    """What one request's sampling depends on: parameters and the tokens so far."""

    def __init__(
        self, params: SamplerParams, vocab_size: int, prompt: NDArray[np.int32]
    ) -> None: ...
    def sample(self, logits: NDArray[np.float32]) -> Sampled:
        """Choose the next token from `[vocab_size]` logits; changes nothing."""
    def observe(self, token: int) -> None:
        """Add a token to the output: the next draw takes the seed's next number."""
    @property
    def observed(self) -> int: ...

class Decoded:
    """What a burst of decode steps has sampled."""

    @property
    def steps(self) -> list[list[Sampled]]:
        """Of each step, of each sequence."""
    @property
    def times(self) -> list[float]:
        """When the tokens of each step were known; `time.monotonic`."""
    @property
    def errors(self) -> list[str]:
        """Why sampling failed in the last step, of each sequence; empty where it did not."""

class Sampler:
    """Samples rows side by side on a team of threads."""

    def __init__(self, threads: int = 1) -> None: ...
    def sample(self, states: Sequence[SamplerState], logits: NDArray[np.float32]) -> list[Sampled]:
        """Sample row i of `[rows, vocab_size]` (strided rows are fine) for state i."""
