"""Places the nodes of a graph in ranks, in the way of Sugiyama, Tagawa and Toda (1981).

Every edge goes down.  One that crosses ranks is led through places of its own, so that it passes
beside the nodes between.  The order within a rank follows the mean place of the neighbours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 8


@dataclass(frozen=True)
class Layout:
    """`places` maps a node to the middle of its box; `routes` an edge to the points that it passes.

    `width` and `height` hold everything.
    """

    places: Mapping[int, tuple[float, float]]
    routes: Mapping[tuple[int, int], tuple[tuple[float, float], ...]]
    width: float
    height: float


def place(
    count: int,
    edges: Sequence[tuple[int, int]],
    *,
    box: tuple[float, float],
    gap: tuple[float, float],
) -> Layout:
    """Lay out nodes 0 … `count` - 1; edges lead from lower to higher numbers."""
    ranks = _ranks(count, edges)
    chains, total = _chains(edges, ranks, count)
    rows = _rows(ranks, count, total)
    links = [pair for chain in chains.values() for pair in pairwise(chain)]
    for sweep in range(SWEEPS):
        _reorder(rows, links, down=sweep % 2 == 0)
    across: dict[int, float] = {}
    widths = {node: box[0] if node < count else gap[0] for row in rows for node in row}
    span = max(sum(widths[n] for n in row) + gap[0] * (len(row) - 1) for row in rows)
    for row in rows:
        used = sum(widths[node] for node in row) + gap[0] * (len(row) - 1)
        left = (span - used) / 2
        for node in row:
            across[node] = left + widths[node] / 2
            left += widths[node] + gap[0]
    step = box[1] + gap[1]
    points = {node: (across[node], box[1] / 2 + ranks[node] * step) for node in across}
    routes = {edge: tuple(points[node] for node in chain) for edge, chain in chains.items()}
    places = {node: points[node] for node in range(count)}
    return Layout(places, routes, span, len(rows) * step - gap[1])


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Return the longest way from a source to each node; sources stand above their readers."""
    ranks = dict.fromkeys(range(count), 0)
    for start, end in sorted(edges, key=lambda edge: edge[1]):
        ranks[end] = max(ranks[end], ranks[start] + 1)
    for node in range(count):
        readers = [ranks[end] for start, end in edges if start == node]
        if readers and all(end != node for _, end in edges):
            ranks[node] = min(readers) - 1
    return ranks


def _chains(
    edges: Sequence[tuple[int, int]], ranks: dict[int, int], count: int
) -> tuple[dict[tuple[int, int], list[int]], int]:
    """Return the nodes that each edge passes, new ones in each rank between; they get ranks."""
    chains = {}
    for start, end in edges:
        between = range(ranks[start] + 1, ranks[end])
        passed = list(range(count, count + len(between)))
        ranks.update(zip(passed, between, strict=True))
        count += len(passed)
        chains[start, end] = [start, *passed, end]
    return chains, count


def _rows(ranks: Mapping[int, int], count: int, total: int) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(ranks.values(), default=0) + 1)]
    for node in [*range(count), *range(count, total)]:
        rows[ranks[node]].append(node)
    return rows


def _reorder(rows: list[list[int]], links: Sequence[tuple[int, int]], *, down: bool) -> None:
    """Sort each rank by the mean relative place of its neighbours in the rank before, or after."""
    neighbours: dict[int, list[int]] = {}
    for start, end in links:
        neighbours.setdefault(end if down else start, []).append(start if down else end)
    where: dict[int, float] = {}
    for row in rows if down else reversed(rows):
        own = {node: (index + 0.5) / len(row) for index, node in enumerate(row)}
        means = {
            node: sum(where[n] for n in near) / len(near)
            for node in row
            if (near := neighbours.get(node))
        }
        row.sort(key=lambda node: means.get(node, own[node]))
        where.update({node: (index + 0.5) / len(row) for index, node in enumerate(row)})
