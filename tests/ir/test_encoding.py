"""Encodings have names, and the sizes that the architecture states."""

import pytest

from ingot.ir import Encoding, Offset, known_encodings


@pytest.mark.parametrize("name", known_encodings())
def test_names_are_read_back(name: str) -> None:
    assert str(Encoding.parse(name)) == name


@pytest.mark.parametrize(
    "name, bits",
    [
        ("int4-g32", 4.75),
        ("int4-g64", 4.375),
        ("int4-g128", 4.1875),
        ("int4-g32-sym", 4.5),
        ("int4-g32-min", 5.0),
        ("int8", 8.0),
        ("int8-g32", 8.5),
        ("int8-act", 9.0),
        ("bf16-act", 16.0),
    ],
)
def test_bits_per_weight(name: str, bits: float) -> None:
    assert Encoding.parse(name).bits_per_weight == bits


@pytest.mark.parametrize("name", ["", "int3-g32", "int4", "int4-g16", "int4-g64-min", "int8-g64"])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"known are int4-g32, .*int8-act"):
        Encoding.parse(name)


def test_groups() -> None:
    assert Encoding.parse("int4-g32").groups(70) == 3
    assert Encoding.parse("int8").groups(70) == 1
    assert Encoding.parse("int8").group_size(70) == 70
    assert Encoding.parse("int4-g64-sym").offset is Offset.MIDDLE
