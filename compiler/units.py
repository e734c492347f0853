"""Numbers as a reader wants them."""


def megabytes(count: int) -> str:
    """Return a number of bytes for a reader."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
