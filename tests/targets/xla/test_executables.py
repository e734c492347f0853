"""The folder of compiled programs that the compiler and the runtime share."""

from pathlib import Path

import pytest

from ingot.executables import Entry, ExecutableCache, default_cache, executable_key, platform_build

KEY = executable_key(b"program", "jaxlib 1", "v5e:2x4", 8)


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    cache = ExecutableCache(tmp_path / "xla")
    assert cache.get(KEY) is None
    cache.put(KEY, Entry(b"\0code", {"seconds": 1.5}))
    assert cache.get(KEY) == Entry(b"\0code", {"seconds": 1.5})
    cache.put(KEY, Entry(b"\0code", {"seconds": 1.5}))
    assert [path.name for path in (tmp_path / "xla").iterdir()] == [KEY]


def test_a_damaged_entry_is_a_miss(tmp_path: Path) -> None:
    cache = ExecutableCache(tmp_path)
    cache.put(KEY, Entry(b"code", {}))
    (tmp_path / KEY / "facts.json").write_text("{")
    assert cache.get(KEY) is None
    cache.put(KEY, Entry(b"again", {"hlo": ""}))
    assert cache.get(KEY) == Entry(b"again", {"hlo": ""})


def test_a_folder_that_cannot_be_made_costs_only_the_entry(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = ExecutableCache(tmp_path / "file" / "xla")
    cache.put(KEY, Entry(b"code", {}))
    assert cache.get(KEY) is None


def test_the_key_holds_all_that_an_executable_depends_on() -> None:
    changed = {
        KEY,
        executable_key(b"program.", "jaxlib 1", "v5e:2x4", 8),
        executable_key(b"program", "jaxlib 2", "v5e:2x4", 8),
        executable_key(b"program", "jaxlib 1", "v5e:4x2", 8),
        executable_key(b"program", "jaxlib 1", "v5e:2x4", 4),
        executable_key(b"program", "jaxlib 1", "v5e:2x4", 8, {"level": 2}),
    }
    assert len(changed) == 6


def test_a_build_names_the_packages_and_for_the_cpu_the_machine() -> None:
    assert platform_build("tpu").startswith("jaxlib 0.10.2 libtpu 0.0.42")
    assert len(platform_build("cpu").split()) == 3


def test_the_knob_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path))
    assert default_cache().folder == tmp_path / "xla"
