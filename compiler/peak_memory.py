"""How much memory this process has taken."""

import resource


def peak_memory() -> int:
    """Return the most bytes that were resident at once in this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
