"""The difference of two texts, as `diff -u` writes it."""

import difflib

MOST_LINES = 4000
"""Lines up to which lines are matched; matching takes time with their square."""


def difference(before: str, after: str, title: str = "") -> str:
    """Return the unified difference, '' where the texts are equal.

    Of texts too long to be matched in reasonable time all lines are shown as replaced.
    """
    if before == after:
        return ""
    old, new = before.splitlines(), after.splitlines()
    names = f"before {title}".strip(), f"after {title}".strip()
    if len(old) + len(new) > MOST_LINES:
        header = [f"--- {names[0]}", f"+++ {names[1]}"]
        return "\n".join([*header, *(f"-{x}" for x in old), *(f"+{x}" for x in new)]) + "\n"
    return "\n".join(difflib.unified_diff(old, new, *names, lineterm="")) + "\n"
