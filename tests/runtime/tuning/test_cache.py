"""Kept choices: whole or not at all, and nothing damaged is believed."""

from pathlib import Path

import pytest

from ingot.runtime.tuning.cache import TuningCache, key_of, processor
from ingot.runtime.tuning.choice import Choices, Family

FAMILIES = {"one": Family(((1, ("one",)), (None, ("any", "anyb"))))}
CHOICES: Choices = {"one": ((1, "one"), (None, "anyb"))}


def test_what_was_kept_is_found(tmp_path: Path) -> None:
    cache = TuningCache(tmp_path / "new")
    assert cache.get("key", FAMILIES) is None
    cache.put("key", CHOICES)
    assert cache.get("key", FAMILIES) == CHOICES
    assert cache.get("other", FAMILIES) is None
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["key.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 0, "choices": {"one": [[1, "one"], [null, "any"]]}}',
        '{"format": 1}',
        '{"format": 1, "choices": {}}',
        '{"format": 1, "choices": {"one": [[2, "one"], [null, "any"]]}}',
        '{"format": 1, "choices": {"one": [[true, "one"], [null, "any"]]}}',
        '{"format": 1, "choices": {"one": [["1", "one"], [null, "any"]]}}',
        '{"format": 1, "choices": {"one": [[1, "elsewhere"], [null, "any"]]}}',
        '{"format": 1, "choices": {"one": 3}}',
        "\xff",
    ],
)
def test_a_damaged_file_is_a_miss_and_is_written_again(tmp_path: Path, text: str) -> None:
    cache = TuningCache(tmp_path)
    (tmp_path / "key.json").write_text(text, encoding="latin-1")
    assert cache.get("key", FAMILIES) is None
    cache.put("key", CHOICES)
    assert cache.get("key", FAMILIES) == CHOICES


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = TuningCache(tmp_path / "file" / "folder")
    cache.put("key", CHOICES)
    assert cache.get("key", FAMILIES) is None


def test_the_key_tells_apart_what_matters(tmp_path: Path) -> None:
    keys = {key_of("avx2", 2, "a"), key_of("avx512", 2, "a"), key_of("avx2", 4, "a")}
    assert len({*keys, key_of("avx2", 2, "b")}) == 4


def test_the_first_processor_is_described(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    fields = ("processor: 0", "vendor_id\t: X", "cpu family\t: 6", "model\t\t: 7", "flags\t: a b")
    first = "\n".join([*fields, "cpu MHz\t: 1", ""])
    cpuinfo.write_text(first + "\nprocessor\t: 1\nmodel\t\t: 8\n")
    assert processor(cpuinfo).split() == [
        *processor(tmp_path / "none").split(),
        *"X 6 7 a b".split(),
    ]
