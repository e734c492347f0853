"""The pages of devices that hold different sequences: one pool for each data group.

A device's KV cache is its own.  Where the sequences of a step are divided among groups of devices,
all pages of a sequence lie in the range of one group, and prefixes are shared inside it alone.
"""

from collections.abc import Collection, Sequence

from .pages import PageHash, PagePool


class PageGroups:
    """The pages 0 … num_pages - 1 in `groups` equal ranges, a pool each."""

    def __init__(self, num_pages: int, groups: int = 1) -> None:
        assert groups > 0 and num_pages % groups == 0, "the ranges are equal"
        self.pages_per_group = num_pages // groups
        self.pools = tuple(
            PagePool(self.pages_per_group, first=group * self.pages_per_group)
            for group in range(groups)
        )

    @property
    def num_held(self) -> int:
        """Pages that some sequence holds, in all groups."""
        return sum(pool.num_held for pool in self.pools)

    def choose(
        self, hashes: Sequence[PageHash], count: int, closed: Collection[int] = ()
    ) -> tuple[int, list[int]] | None:
        """Return a group with room for a sequence of `count` pages, and the pages known there.

        `hashes` are those of its full pages.  The longest known prefix is taken, among equals the
        most available pages, then the lower number; None where no group has room.  `closed` groups
        are left out.
        """
        ranked = []
        for group, pool in enumerate(self.pools):
            known = pool.find_prefix(hashes)
            room = pool.num_available - pool.num_cached_among(known)
            if group not in closed and count - len(known) <= room:
                ranked.append((-len(known), -pool.num_available, group, known))
        if not ranked:
            return None
        _, _, group, known = min(ranked)
        return group, known

    def check(self) -> None:
        """Assert the invariants of every pool; for tests."""
        for pool in self.pools:
            pool.check()
