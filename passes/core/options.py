"""The text form of options: `{a=1,b=x}` to and from the fields of a frozen dataclass.

| field type | text |
|---|---|
| `str` | `linear=int8`; in double quotes where it holds a comma, a brace or a quote |
| `int`, `float` | `size=3`, `ratio=0.5` |
| `bool` | `requantize=true`, `requantize=false` |
| `tuple[str, ...]` | `without=rope;linear` |

Dashes and underscores in an option's name are the same.  Options at their default are not written.
"""

import re
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, TypeVar

from ingot.errors import UsageError

T = TypeVar("T")

_PAIR = re.compile(r'\s*([A-Za-z_][\w-]*)\s*=\s*("(?:[^"\\]|\\.)*"|[^,{}"]*)\s*(,|$)')
_BARE = re.compile(r'[^,{}"\\\s]+\Z')


def format_options(options: object) -> str:
    """Return `{name=value,…}` of the fields that differ from their default, or an empty text."""
    pairs = []
    for field in fields(options):  # type: ignore[arg-type]  # a dataclass, by contract
        value = getattr(options, field.name)
        if value != field.default:
            pairs.append(f"{field.name.replace('_', '-')}={_format_value(value)}")
    return "{" + ",".join(pairs) + "}" if pairs else ""


def parse_options(kind: type[T], text: str, *, where: str) -> T:
    """Return a `kind` made from `a=1,b=x` (without the braces); `where` names it in errors."""
    known: Mapping[str, Field[Any]] = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, object] = {}
    position = 0
    while position < len(text.rstrip()):
        pair = _PAIR.match(text, position)
        if pair is None:
            raise UsageError(
                f"cannot read {text[position:]!r}", where=where, hint="Write {option=value,…}."
            )
        key, raw = pair[1].replace("-", "_"), pair[2].strip()
        if key not in known:
            raise UsageError(
                f"no option {pair[1]!r}",
                where=where,
                hint="Options: " + (", ".join(known) or "none") + ".",
            )
        if key in values:
            raise UsageError(f"option {pair[1]!r} is given twice", where=where, hint="Drop one.")
        values[key] = _parse_value(known[key], raw, where)
        position = pair.end()
    return kind(**values)


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = ";".join(value) if isinstance(value, tuple) else str(value)
    if _BARE.match(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _parse_value(field: Field[Any], raw: str, where: str) -> object:
    """Return the value of `field` that `raw` writes, by the type of the field's default."""
    text = re.sub(r"\\(.)", r"\1", raw[1:-1]) if raw.startswith('"') else raw
    default = field.default
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text]
        if isinstance(default, tuple):
            return tuple(item for item in text.split(";") if item)
        kind: Any = type(default)
        return kind(text)
    except (KeyError, ValueError) as error:
        wanted = "true or false" if isinstance(default, bool) else f"like {default!r}"
        raise UsageError(
            f"{text!r} is not a value of option {field.name}",
            where=where,
            hint=f"Give a value {wanted}.",
        ) from error
