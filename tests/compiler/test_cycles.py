"""Cycles are looked for rarely within a block, and as before after it."""

import gc

import pytest

from ingot.compiler.cycles import RARELY, rare_collections


def test_the_thresholds_come_back() -> None:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    try:
        with pytest.raises(ValueError, match="out"), rare_collections():
            assert gc.get_threshold() == RARELY
            raise ValueError("out")
        assert gc.get_threshold() == (700, 10, 10)
    finally:
        gc.set_threshold(*before)
