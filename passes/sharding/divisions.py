"""Into how many parts the numbers of a model divide: experts, heads, features."""


def kv_parts(kv_heads: int, size: int) -> int:
    """Return in how many parts KV heads are divided among `size` devices.

    Fewer heads than devices: each is repeated on as many neighbours as share its query heads.
    """
    return min(kv_heads, size)


def kv_divides(kv_heads: int, size: int) -> bool:
    """Return whether KV heads divide among devices, or devices among KV heads."""
    return kv_heads % size == 0 or size % kv_heads == 0
