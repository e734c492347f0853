"""Operations of models that give a row for each sequence mean what the plain formula says."""

from typing import Any

import pytest
import torch

from ingot.ir import Batch, InvalidModuleError, L2Normalize, Pool, Shift, TokenTypes

Build = Any
STARTS = [0, 1, 5, 7]


@pytest.mark.parametrize("kind", ["cls", "mean", "max", "last"])
def test_pool(build: Build, kind: str) -> None:
    x = torch.randn(STARTS[-1], 6)
    op = build(lambda x, batch: Pool(x, batch, kind=kind), build.activation(6), build.batch)
    parts = [x[0:1], x[1:5], x[5:7]]
    formulas = {
        "cls": lambda rows: rows[0],
        "mean": lambda rows: rows.sum(0) / len(rows),
        "max": lambda rows: rows.max(0).values,
        "last": lambda rows: rows[-1],
    }
    expected = torch.stack([formulas[kind](rows) for rows in parts])
    torch.testing.assert_close(op.reference(x, Batch(STARTS)), expected)
    assert op.out.type == op.x.type


def test_l2_normalize(build: Build) -> None:
    x = torch.randn(3, 6)
    x[1] = 0
    found = build(lambda x: L2Normalize(x, eps=1e-6), build.activation(6)).reference(x)
    torch.testing.assert_close(found[[0, 2]].norm(dim=1), torch.ones(2))
    assert not found[1].any()


def test_indices(build: Build) -> None:
    shift = build(lambda indices: Shift(indices, offset=2), build.indices)
    assert shift.reference(torch.tensor([0, 3], dtype=torch.int32)).tolist() == [2, 5]
    types = build(TokenTypes, build.batch)
    assert types.reference(Batch([0, 3])).tolist() == [0, 0, 0]
    assert types.reference(Batch([0, 3], token_types=[0, 1, 1])).tolist() == [0, 1, 1]


def test_what_does_not_fit_is_refused(build: Build) -> None:
    with pytest.raises(InvalidModuleError, match="cls, mean, max, last"):
        build(lambda x, batch: Pool(x, batch, kind="sum"), build.activation(6), build.batch)
    with pytest.raises(InvalidModuleError, match="eps above 0"):
        build(lambda x: L2Normalize(x, eps=0.0), build.activation(6))
