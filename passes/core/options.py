"""The options of a pass: the fields of a frozen dataclass, their text form and their help.

    @dataclass(frozen=True)
    class Prune(Pass):
        ratio: float = option(0.5, help="part of each row that becomes zero", minimum=0, maximum=1)

| field type | text |
|---|---|
| `str`, `Literal["a", "b"]` | `linear=int8`; in double quotes where it holds a comma, a space … |
| `int`, `float` | `size=3`, `ratio=0.5` |
| `bool` | `requantize=true`, `requantize=false` |
| `Encoding` | `encoding=int4-g32` |
| `tuple[str, ...]`, also of `int`, `float` | `without=rope;linear` |

Options stand between commas or spaces: `{bits=4,group=32}`, `{bits=4 group=32}`.  Dashes and
underscores in a name are the same.  Options at their default are not written.
"""

import re
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ingot.errors import UsageError
from ingot.ir import Encoding

T = TypeVar("T")

_PAIR = re.compile(r'\s*([A-Za-z_][\w-]*)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,{}"]*)\s*(,?)')
_BARE = re.compile(r'[^,{}"\\\s]+\Z')
_WANTED = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Option:
    """One option of a pass; `name` is that of the field, `kind` its type.

    `minimum` and `maximum` belong to the range, None where it has no end.
    """

    name: str
    kind: Any
    default: object
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None

    @property
    def flag(self) -> str:
        """The name as it is written: with dashes."""
        return self.name.replace("_", "-")

    @property
    def values(self) -> str:
        """What the option takes, for a reader."""
        items = _items_of(self.kind)
        if items is not None:
            return f"{_wanted(items)}; more between semicolons"
        ends = self.minimum, self.maximum
        match ends:
            case None, None:
                return _wanted(self.kind)
            case low, None:
                return f"{_wanted(self.kind)}, at least {low:g}"
            case None, high:
                return f"{_wanted(self.kind)}, at most {high:g}"
            case low, high:
                return f"{_wanted(self.kind)}, {low:g} to {high:g}"
        raise AssertionError(ends)

    def problem(self, value: object) -> str:
        """Return what is wrong with `value`, an empty text where nothing is."""
        if get_origin(self.kind) is Literal:
            return "" if value in get_args(self.kind) else f"{value!r} is none of its values"
        if isinstance(value, int | float):
            if self.minimum is not None and value < self.minimum:
                return f"{value:g} is below {self.minimum:g}"
            if self.maximum is not None and value > self.maximum:
                return f"{value:g} is above {self.maximum:g}"
        return ""


def option(
    default: T, *, help: str, minimum: float | None = None, maximum: float | None = None
) -> T:
    """Return the default of a dataclass field, with what its help says and the range it allows."""
    facts = {"help": help, "minimum": minimum, "maximum": maximum}
    return field(default=default, metadata=facts)


def options_of(kind: type) -> tuple[Option, ...]:
    """Return the options of a dataclass, in the order of its fields."""
    types = get_type_hints(kind)
    return tuple(
        Option(one.name, types[one.name], one.default, **one.metadata)
        for one in fields(kind)
        if one.init
    )


def check_options(options: object, *, where: str) -> None:
    """Raise UsageError for a value outside its choices or its range."""
    for one in options_of(type(options)):
        problem = one.problem(getattr(options, one.name))
        if problem:
            raise UsageError(
                problem, where=f"{where}, option {one.flag}", hint=f"Give {one.values}."
            )


def format_options(options: object) -> str:
    """Return `{name=value,…}` of the fields that differ from their default, or an empty text."""
    pairs = []
    for one in options_of(type(options)):
        value = getattr(options, one.name)
        if value != one.default:
            pairs.append(f"{one.flag}={_format_value(value)}")
    return "{" + ",".join(pairs) + "}" if pairs else ""


def parse_options(kind: type[T], text: str, *, where: str) -> T:
    """Return a `kind` made from `a=1,b=x` (without the braces); `where` names it in errors."""
    known = {one.name: one for one in options_of(kind)}
    values: dict[str, object] = {}
    position, end, comma = 0, len(text.rstrip()), ""
    while position < end or comma:
        pair = _PAIR.match(text, position)
        if pair is None:
            raise UsageError(
                f"cannot read {text[position:]!r}", where=where, hint="Write {option=value,…}."
            )
        name = pair[1].replace("-", "_")
        if name not in known:
            flags = ", ".join(one.flag for one in known.values()) or "none"
            raise UsageError(f"no option {pair[1]!r}", where=where, hint=f"Options: {flags}.")
        if name in values:
            raise UsageError(f"option {pair[1]!r} is given twice", where=where, hint="Drop one.")
        values[name] = _parse_value(known[name], pair[2], where)
        position, comma = pair.end(), pair[3]
    return kind(**values)


def format_option(one: Option) -> str:
    """Return an option with its default as `ratio=0.5`."""
    return f"{one.flag}={_format_value(one.default)}"


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = ";".join(map(str, value)) if isinstance(value, tuple) else str(value)
    if _BARE.match(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _items_of(kind: Any) -> Any:
    """Return the type of the items of `tuple[item, ...]`, None for other types."""
    return get_args(kind)[0] if get_origin(kind) is tuple else None


def _wanted(kind: Any) -> str:
    """Return what a value of a type looks like."""
    if get_origin(kind) is Literal:
        *others, last = map(str, get_args(kind))
        return f"{', '.join(others)} or {last}" if others else last
    return "an encoding" if _is_encoding(kind) else _WANTED[kind]


def _is_encoding(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Encoding)


def _parse_value(one: Option, raw: str, where: str) -> object:
    text = re.sub(r"\\(.)", r"\1", raw[1:-1]) if raw.startswith('"') else raw
    items = _items_of(one.kind)
    try:
        if items is not None:
            return tuple(_parse_one(items, item) for item in text.split(";") if item)
        return _parse_one(one.kind, text)
    except ValueError as error:
        reason = f": {error}" if _is_encoding(one.kind) else ""
        raise UsageError(
            f"{text!r} is not a value of option {one.flag}{reason}",
            where=where,
            hint=f"Give {one.values}.",
        ) from error


def _parse_one(kind: Any, text: str) -> object:
    """Return the value of a type that `text` writes; raise ValueError if it writes none."""
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(text)
        return text == "true"
    if get_origin(kind) is Literal:
        return next((choice for choice in get_args(kind) if str(choice) == text), text)
    if _is_encoding(kind):
        return Encoding.parse(text)
    if not text and kind is not str:
        raise ValueError("empty")
    return kind(text)
