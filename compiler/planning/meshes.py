"""The meshes that a number of devices can form, and why a model cannot be divided by one."""

from collections.abc import Iterator

from ingot.ir import Mesh

from .sizes import Sizes

ORDER = ("pp", "dp", "ep", "cp", "tp")
"""From the axis that sends least to that which sends most: neighbours are the last to differ."""


def meshes_of(devices: int) -> Iterator[Mesh]:
    """Return every way to write `devices` as a product over the axes; axes of 1 are left out."""
    for sizes in factorizations(devices, len(ORDER)):
        axes = tuple((axis, size) for axis, size in zip(ORDER, sizes, strict=True) if size > 1)
        yield Mesh(axes or (("tp", 1),))


def factorizations(number: int, factors: int) -> Iterator[tuple[int, ...]]:
    """Return every tuple of `factors` positive numbers whose product is `number`."""
    if factors == 1:
        yield (number,)
        return
    for first in range(1, number + 1):
        if number % first == 0:
            for rest in factorizations(number // first, factors - 1):
                yield (first, *rest)


def obstacle(mesh: Mesh, sizes: Sizes, batch: int) -> str:
    """Return why a mesh is of no use to a model and a batch, '' where nothing is known against it.

    What the passes refuse beyond that is found when they run.
    """
    tp, ep, pp = (mesh.size(axis) for axis in ("tp", "ep", "pp"))
    for heads in sorted(sizes.heads):
        if heads % tp:
            return f"{heads} heads in {tp}"
    for heads in sorted(sizes.kv_heads):
        if heads % tp and tp % heads:
            return f"{heads} KV heads in {tp}"
    if ep > 1 and not sizes.experts:
        return "no experts"
    for experts in sorted(sizes.experts):
        if experts % ep:
            return f"{experts} experts in {ep}"
    if pp > sizes.layers:
        return f"{sizes.layers} layers in {pp}"
    if mesh.data_groups > batch:
        return f"{batch} sequences in {mesh.data_groups} groups"
    return ""
