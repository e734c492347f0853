"""Who holds which page of the KV cache, and which pages hold a known prefix.

A page is in one of three states: *held* by one or more sequences, *cached* (held by none, its
content known by a hash and kept until room is needed), or *free*.  The hash of a full page covers
its tokens and, through the hash of the page before it, everything in front of it; so equal hashes
mean equal KV entries, and a prompt that begins like an earlier one takes over the earlier one's
pages.  Pages are shared only when full, and a full page is never written again.
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence

PageHash = bytes
ROOT_HASH: PageHash = b""


def page_hash(previous: PageHash, token_ids: Sequence[int]) -> PageHash:
    """Hash one full page: its tokens and the hash of the page before it (`ROOT_HASH`: none).

    Cryptographic, because a collision would show one user's context to another.
    """
    digest = hashlib.blake2b(previous, digest_size=16)
    digest.update(array("i", token_ids).tobytes())
    return digest.digest()


class PagePool:
    """The pages first … first + num_pages - 1; deterministic, O(1) a page.

    Invariant: every page is either held (count ≥ 1), cached, or free, and in no two of these.
    """

    def __init__(self, num_pages: int, first: int = 0) -> None:
        assert num_pages > 0
        self.num_pages = num_pages
        pages = range(first, first + num_pages)
        self._holders = dict.fromkeys(pages, 0)
        self._free = list(reversed(pages))
        self._cached: OrderedDict[int, None] = OrderedDict()  # least recently used first
        self._hash_of_page: dict[int, PageHash] = {}
        self._page_of_hash: dict[PageHash, int] = {}

    @property
    def num_available(self) -> int:
        """Pages that `allocate` can give: the free ones and the cached ones."""
        return len(self._free) + len(self._cached)

    @property
    def num_held(self) -> int:
        """Pages that some sequence holds."""
        return self.num_pages - self.num_available

    def find_prefix(self, hashes: Sequence[PageHash]) -> list[int]:
        """Return the pages of the longest known prefix of a chain; does not hold them."""
        pages: list[int] = []
        for value in hashes:
            page = self._page_of_hash.get(value)
            if page is None:
                break
            pages.append(page)
        return pages

    def num_cached_among(self, pages: Sequence[int]) -> int:
        """How many of `pages` nobody holds: taking them lowers `num_available` by as many."""
        return sum(self._holders[page] == 0 for page in pages)

    def hold(self, pages: Sequence[int]) -> None:
        """Hold pages that `find_prefix` returned."""
        for page in pages:
            if self._holders[page] == 0:
                del self._cached[page]
            self._holders[page] += 1

    def allocate(self, count: int) -> list[int]:
        """Hold and return `count` pages of unknown content; evicts the least recently used."""
        assert 0 <= count <= self.num_available
        pages = []
        for _ in range(count):
            page = self._free.pop() if self._free else self._evict()
            self._holders[page] = 1
            pages.append(page)
        return pages

    def release(self, pages: Sequence[int]) -> None:
        """Give pages back; the last page first, so that the front of a chain is evicted last."""
        for page in reversed(pages):
            assert self._holders[page] > 0
            self._holders[page] -= 1
            if self._holders[page]:
                continue
            if page in self._hash_of_page:
                self._cached[page] = None
            else:
                self._free.append(page)

    def publish(self, page: int, value: PageHash) -> None:
        """Make a held page known by the hash of its content; the first of several copies stays."""
        assert self._holders[page] > 0
        if value not in self._page_of_hash and page not in self._hash_of_page:
            self._hash_of_page[page] = value
            self._page_of_hash[value] = page

    def check(self) -> None:
        """Assert the invariants; O(num_pages), for tests."""
        free, cached = set(self._free), set(self._cached)
        held = {page for page, count in self._holders.items() if count}
        assert len(free) == len(self._free), "a page is free twice"
        assert not free & cached and not free & held and not cached & held, "a page has two states"
        assert len(free) + len(cached) + len(held) == self.num_pages, "a page is lost"
        assert cached <= set(self._hash_of_page), "a cached page has no hash"
        assert not free & set(self._hash_of_page), "a free page has a hash"
        assert {v: k for k, v in self._hash_of_page.items()} == self._page_of_hash

    def _evict(self) -> int:
        page, _ = self._cached.popitem(last=False)
        del self._page_of_hash[self._hash_of_page.pop(page)]
        return page
