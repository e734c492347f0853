"""Takes a value on devices from one sharding to another: the collectives that this needs."""

from ingot.ir import (
    AllGather,
    AllReduce,
    Arrange,
    Mesh,
    Part,
    Piece,
    ReduceScatter,
    Shard,
    Sharding,
    Value,
    columns_of,
)

ROWS = 0


def resharded(local: Value, found: Sharding, wanted: Sharding, mesh: Mesh) -> Value:
    """Return the value placed as `wanted`, built where the insertion point is."""
    for axis in found.partial:
        if axis not in wanted.partial:
            local, found = _summed(local, found, wanted, axis, mesh)
    assert found.partial == wanted.partial, f"{found} is no sum as {wanted}"
    for dim, parts in enumerate(found.dims):
        for part in reversed(parts):
            if part not in wanted.dims[dim]:
                local = _gathered(local, part, dim, mesh)
    for dim, parts in enumerate(wanted.dims):
        for part in parts:
            if part not in found.dims[dim]:
                local = _cut(local, part, dim, mesh)
    return local


def _summed(
    local: Value, found: Sharding, wanted: Sharding, axis: str, mesh: Mesh
) -> tuple[Value, Sharding]:
    """Return the sum over `axis`: scattered where that is how the value is wanted."""
    size = mesh.size(axis)
    partial = tuple(one for one in found.partial if one != axis)
    for dim, parts in enumerate(wanted.dims):
        part = next((one for one in parts if one == Part(axis, size)), None)
        if part is not None and not found.dims[dim] and len(parts) == 1:
            scattered = ReduceScatter(local, axis=axis, size=size, dim=dim).out
            dims = tuple(parts if d == dim else own for d, own in enumerate(found.dims))
            return scattered, Sharding(dims, partial)
    return AllReduce(local, axis=axis, size=size).out, Sharding(found.dims, partial)


def _gathered(local: Value, part: Part, dim: int, mesh: Mesh) -> Value:
    assert part.blocks == 1, f"a value with rows for tokens in blocks: {part}"
    if part.parts == 1:
        return local
    size = mesh.size(part.axis)
    whole = AllGather(local, axis=part.axis, size=size, dim=dim).out
    copies = size // part.parts
    if copies == 1:
        return whole
    assert dim != ROWS, "rows are never repeated"
    width = columns_of(local)
    first = Piece(0, 0, width * copies, 1, width)
    return Arrange([whole], heads=part.parts, pieces=(first,)).out


def _cut(local: Value, part: Part, dim: int, mesh: Mesh) -> Value:
    if part.parts == 1:
        return local
    size = mesh.size(part.axis)
    blocks = part.blocks
    return Shard(local, axis=part.axis, size=size, parts=part.parts, dim=dim, blocks=blocks).out
