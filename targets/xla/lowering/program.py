"""What lowering makes: programs of one step, a stage each, and the arrays they take."""

from dataclasses import dataclass
from math import prod
from typing import Literal

Floats = Literal["float32", "bfloat16"]

ITEM_BITS = {
    "float32": 32,
    "bfloat16": 16,
    "float16": 16,
    "int32": 32,
    "int8": 8,
    "int4": 4,
}
"""Bits of an element as packed: int4 two a byte, the first in the low half."""


@dataclass(frozen=True)
class StepShape:
    """The sizes of a step, for one device: what does not fill them is padding.

    `tokens` T, `sequences` S, `rows` R whose logits are wanted, `blocks` B pages in a row of the
    block table.  `decode`: T = S, every sequence has one token, token s is that of sequence s.
    """

    tokens: int
    sequences: int
    rows: int
    blocks: int
    decode: bool = False

    def __post_init__(self) -> None:
        assert min(self.tokens, self.sequences, self.rows, self.blocks) > 0, f"{self} is empty"
        assert not self.decode or self.tokens == self.sequences, f"{self} is no decoding step"


@dataclass(frozen=True)
class CacheShape:
    """The KV cache of one device: pages, tokens of a page on this device, type of the elements."""

    pages: int
    page_tokens: int
    dtype: Floats


@dataclass(frozen=True)
class Options:
    """How a module is lowered.

    `compute` is the type of the factors of products, and of the floats that are packed; sums are
    float32.  `roll`: runs of equal layers become a loop over stacked parameters.  `chip` is the
    generation of TPU whose kernels may be used ("v5e"), "" for none.
    """

    compute: Floats = "float32"
    roll: bool = False
    chip: str = ""


@dataclass(frozen=True)
class KvPool:
    """The pages of the layers that share one array: several where equal layers are rolled.

    A page holds K of head h at 2 h and V at 2 h + 1; `head_dim` is the larger of the two sizes.
    Page p of the i-th layer is page `i * pages + p` of the array.
    """

    layers: tuple[int, ...]
    stage: int
    kv_heads: int
    head_dim: int

    def shape(self, cache: CacheShape) -> tuple[int, int, int, int]:
        """Return the shape of the array on one device."""
        pages = len(self.layers) * cache.pages
        return pages, cache.page_tokens, 2 * self.kv_heads, self.head_dim


@dataclass(frozen=True)
class Parameter:
    """An array of weights that a stage's programs take, in the order of `parameters_of`.

    Its bytes are `num_bytes` from `offset` on of a packed weight, row-major.  `weights` names it:
    one row for each array that is stacked along the first dimension (not stacked: one row, and no
    such dimension), in a row one name for each coordinate of the mesh axes `axes`, the last axis
    fastest (no axes: one name, for all devices).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    stage: int
    axes: tuple[str, ...]
    weights: tuple[tuple[str, ...], ...]
    offset: int = 0
    stacked: bool = False

    @property
    def num_bytes(self) -> int:
        """Bytes of one of the stacked arrays, as packed."""
        elements = prod(self.shape[1:] if self.stacked else self.shape)
        return -(-elements * ITEM_BITS[self.dtype] // 8)


@dataclass(frozen=True)
class StageProgram:
    """One stage's program of one step: StableHLO with a function `main`.

    Its arguments: the step's inputs (`STEP_INPUTS`), `incoming` arrays, float32, the
    stage's pools, its parameters.  Its results: what goes to the next stage, or the logits, then
    the pools, which take the place of those that came in.
    """

    stage: int
    text: str
    incoming: tuple[tuple[int, ...], ...]
    outgoing: tuple[tuple[int, ...], ...]

    def portable(self) -> bytes:
        """Return the program in the form that StableHLO keeps readable for years."""
        from ingot.targets.xla.hlo import portable

        return portable(self.text)


STEP_INPUTS = (
    "token_ids",
    "positions",
    "sequence_ids",
    "slots",
    "block_tables",
    "starts",
    "lengths",
    "num_sequences",
    "rows",
)
"""The first arguments of every program, int32: `[T] [T] [T] [T] [S, B] [S + 1] [S] [1] [R]`."""


def step_input_shapes(shape: StepShape) -> dict[str, tuple[int, ...]]:
    """Return the shape of every step input by its name, in the order of the arguments."""
    tokens, sequences = (shape.tokens,), (shape.sequences,)
    sizes: tuple[tuple[int, ...], ...] = (
        *(tokens, tokens, tokens, tokens),
        (shape.sequences, shape.blocks),
        (shape.sequences + 1,),
        sequences,
        (1,),
        (shape.rows,),
    )
    return dict(zip(STEP_INPUTS, sizes, strict=True))
