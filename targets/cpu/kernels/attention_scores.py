"""Products of a block of query rows and the keys of pages: a chain of sums for a row and page.

Tokens are the lanes; features are added in order, so that a row's products do not depend on what
is computed beside them.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import I32, I64, TO_SECOND_CACHE, Pointer, Value, constant, loop
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS

from .attention_products import VECTOR, add_product, in_pairs, parts_of
from .attention_shape import AttentionShape

_WORDS = I32.x(PAGE_TOKENS)
_UNROLL = 4


def products_of(
    shape: AttentionShape,
    level: Level,
    queries: Pointer,
    rows: int,
    pages: Sequence[tuple[Pointer, Pointer]],
) -> Sequence[Value]:
    """Return q · k of `rows` rows at `queries` with the keys of each page, before any scale: the
    pages of the first row, then those of the next.

    `pages` are addresses of keys, and of others that are fetched meanwhile, for later.
    """
    per_word = shape.layout.features_per_word
    sums: Sequence[Value] = [constant(VECTOR, 0.0)] * (rows * len(pages))
    word_bytes = 4 if in_pairs(shape, level) else 4 * per_word

    def word(index: Value, features: int, sums: Sequence[Value]) -> Sequence[Value]:
        offset = index * (4 * PAGE_TOKENS)
        parts = []
        for keys, ahead in pages:
            # A page's lines are more than a core can have under way to its first cache; on Zen 4
            # the second takes them at nearly twice the rate.
            ahead.prefetch(offset, TO_SECOND_CACHE)
            found = parts_of(shape, level, keys.load(_WORDS, offset))
            parts.append(found if len(found) == 1 else found[:features])
        column = queries.at(index * word_bytes)
        return [
            add_product(
                shape,
                level,
                total,
                column.at(number // len(pages) * shape.row_bytes),
                parts[number % len(pages)],
            )
            for number, total in enumerate(sums)
        ]

    whole = shape.head_dim // per_word
    unroll = max(_UNROLL // per_word, 1)
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
