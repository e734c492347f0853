"""A file in memory holds its bytes before, while and after it is moved to huge pages."""

import threading
from pathlib import Path

import numpy as np
import pytest

from ingot.runtime._native import Error, ResidentFile

PIECE = 16 << 20


@pytest.mark.parametrize("size", [1, 4097, (2 << 20) - 1, PIECE, 2 * PIECE + 12345])
def test_the_bytes_stay_the_same(tmp_path: Path, size: int) -> None:
    wanted = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    wanted.tofile(tmp_path / "file")
    file = ResidentFile(str(tmp_path / "file"))
    content = file.content
    address = content.ctypes.data
    np.testing.assert_array_equal(content, wanted)
    file.settle()
    file.wait()
    assert content.ctypes.data == address and not content.flags.writeable
    np.testing.assert_array_equal(content, wanted)


def test_readers_see_no_difference_while_it_moves(tmp_path: Path) -> None:
    wanted = np.random.default_rng(0).integers(0, 256, 4 * PIECE, dtype=np.uint8)
    wanted.tofile(tmp_path / "file")
    for _ in range(5):
        file = ResidentFile(str(tmp_path / "file"))
        wrong: list[int] = []
        done = threading.Event()

        def read(content: np.ndarray, done: threading.Event, wrong: list[int]) -> None:
            while not done.is_set():
                wrong.append(int((content != wanted).sum()))

        thread = threading.Thread(target=read, args=(file.content, done, wrong))
        thread.start()
        file.settle()
        file.wait()
        done.set()
        thread.join()
        assert wrong and not any(wrong)


def test_views_keep_the_file_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"weights" * 1_000_000)
    file = ResidentFile(str(tmp_path / "file"))
    view = file.content[7:14]
    file.settle()
    del file  # while it moves
    assert view.tobytes() == b"weights"


def test_a_file_that_is_not_there_or_empty_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Error, match="No such file"):
        ResidentFile(str(tmp_path / "absent"))
    (tmp_path / "empty").touch()
    with pytest.raises(Error, match="it is empty"):
        ResidentFile(str(tmp_path / "empty"))
