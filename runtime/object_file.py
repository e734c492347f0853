"""Which functions an object file holds: as much of ELF as that takes."""

import struct

_SECTION_HEADERS = struct.Struct("<40xQ10xHHH")
"""Of the file's header: where the table of sections begins, the size and number of its entries."""
_SECTION = struct.Struct("<4xI16xQQI12xQ")
"""Of a section: its type, offset and size, the section that it refers to, the size of an entry."""
_SYMBOL = struct.Struct("<IBBH16x")
"""Of a symbol: the offset of its name, its type and binding, its visibility, its section."""

_SYMBOL_TABLE, _FUNCTION, _GLOBAL, _UNDEFINED = 2, 2, 1, 0


def functions_of(image: bytes) -> frozenset[str]:
    """Return the names of the global functions that a 64-bit ELF object defines.

    Raises ValueError for bytes that are no such object.
    """
    if image[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no 64-bit ELF object")
    try:
        return frozenset(_functions(image))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"a damaged ELF object: {error}") from error


def _functions(image: bytes) -> list[str]:
    table, size, count, _ = _SECTION_HEADERS.unpack_from(image)
    sections = [_SECTION.unpack_from(image, table + i * size) for i in range(count)]
    names = []
    for kind, offset, length, strings, entry in sections:
        if kind != _SYMBOL_TABLE:
            continue
        _, text, _, _, _ = sections[strings]
        for at in range(offset, offset + length, entry):
            name, info, _, section = _SYMBOL.unpack_from(image, at)
            if info == _GLOBAL << 4 | _FUNCTION and section != _UNDEFINED:
                begin = text + name
                names.append(image[begin : image.index(b"\0", begin)].decode())
    return names
