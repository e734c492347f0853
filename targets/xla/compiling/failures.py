"""What XLA says when it does not compile a program, as errors that tell what to do."""

import re

from ingot.errors import UnsupportedError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = r"([\d.]+)([KMGT]?)"
_NEEDS = (
    re.compile(rf"\({_SIZE}\) exceeds available HBM \({_SIZE}\)"),
    re.compile(rf"Used {_SIZE}i?B? of {_SIZE}i?B? hbm", re.IGNORECASE),
    re.compile(rf"{_SIZE}i?B? exceeds available HBM \({_SIZE}\)"),
)
_GLOG = re.compile(r"^[IWEF]\d{4} [\d:.]+ +\d+ [\w./-]+:\d+\] ")
_NOISE = re.compile(r"^(\s*@|\*\*\*|=== |WARNING: |\s*#\d|$|\s*PC: )")


class CompileError(UnsupportedError):
    """XLA refuses a program, or ended while it compiled one."""


class OutOfMemory(CompileError):
    """A program needs more memory than a device has: bytes of one device."""

    def __init__(self, needs: int, has: int, where: str) -> None:
        self.needs, self.has = needs, has
        super().__init__(
            f"the program needs {_gib(needs)} of a device that has {_gib(has)}: "
            f"{_gib(needs - has)} too much",
            where=where,
            hint="Divide the model over more devices, give it fewer pages of KV cache, "
            "or encode its weights in fewer bits.",
        )


def refusal(message: str, where: str) -> CompileError:
    """Return the error for what XLA said of a program for `where`."""
    if message.startswith("RESOURCE_EXHAUSTED"):
        for pattern in _NEEDS:
            if found := pattern.search(message):
                needs, has = _bytes(*found.groups()[:2]), _bytes(*found.groups()[2:])
                return OutOfMemory(needs, has, where)
    shown = message.strip()[:2000]
    return CompileError(
        f"XLA does not compile the program: {shown}", where=where, hint="Please report this."
    )


def death(status: int, log: str, where: str) -> CompileError:
    """Return the error for a worker that ended with `status` after it wrote `log`."""
    return CompileError(
        f"the compiler ended with status {status}: {last_words(log) or 'it said nothing'}",
        where=where,
        hint="Compile for fewer devices or smaller steps, and please report this.",
    )


def last_words(log: str) -> str:
    """Return the last line of a log that says something: no trace of the stack, no warning.

    A line that the log marks as fatal goes before any other.
    """
    lines = [line for line in log.splitlines() if not _NOISE.match(line)]
    fatal = [line for line in lines if line.startswith("F") and _GLOG.match(line)]
    return _GLOG.sub("", (fatal or lines or [""])[-1]).strip()


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * _UNITS[unit])


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
