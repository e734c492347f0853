"""Scores of a block of query rows against the 16 keys of a page: one chain of sums a row.

Tokens are the lanes; features are added in order, so that a row's scores do not depend on the other
rows of its block.
"""

from collections.abc import Callable, Sequence

from ingot.targets.cpu.build import F32, I32, I64, Pointer, Value, constant, loop
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS

from .attention_shape import AttentionShape

VECTOR = F32.x(PAGE_TOKENS)
WORDS = I32.x(PAGE_TOKENS)
_UNROLL = 4


def scores_of(
    shape: AttentionShape,
    level: Level,
    queries: Pointer,
    keys: Pointer,
    rows: int,
    prefetch: Callable[[Value], None],
) -> Sequence[Value]:
    """Return q · k of `rows` rows at `queries` with the page's keys, before any scale.

    `prefetch` is called with the number of each 64-byte line of the keys that has been used.
    """
    per_word = shape.layout.features_per_word
    whole = shape.head_dim // per_word
    unroll = max(_UNROLL // per_word, 1)
    sums: Sequence[Value] = [constant(VECTOR, 0.0)] * rows

    def word(index: Value, features: int, sums: Sequence[Value]) -> Sequence[Value]:
        prefetch(index)
        lanes = keys.load(WORDS, index * (4 * PAGE_TOKENS))
        for place, key in enumerate(_widen(shape, lanes)[:features]):
            column = queries.at(index * (4 * per_word)).at(4 * place)
            sums = [
                level.fma(column.load_splat(VECTOR, row * shape.row_bytes), key, total)
                for row, total in enumerate(sums)
            ]
        return sums

    steps = whole // unroll * unroll
    if steps:
        with loop(0, steps, unroll, carried=sums) as words:
            inner: Sequence[Value] = words.carried
            for ahead in range(unroll):
                inner = word(words.index + ahead, per_word, inner)
            words.carry(*inner)
        sums = words.results
    for index in range(steps, shape.layout.key_words):
        features = min(per_word, shape.head_dim - index * per_word)
        sums = word(constant(I64, index), features, sums)
    return sums


def _widen(shape: AttentionShape, words: Value) -> Sequence[Value]:
    """Return the features that the words hold, as floats."""
    if shape.dtype == "float32":
        return [words.bitcast(VECTOR)]
    if shape.dtype == "bfloat16":
        return [(words << 16).bitcast(VECTOR), (words & 0xFFFF0000).bitcast(VECTOR)]
    signed = words ^ 0x80808080
    return [
        (signed << (24 - 8 * byte)).shift_right_signed(24).to(F32)
        if byte < 3
        else signed.shift_right_signed(24).to(F32)
        for byte in range(4)
    ]
