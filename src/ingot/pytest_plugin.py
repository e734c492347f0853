"""The pytest plugin: the assertions as fixtures.  The entry point `pytest11` names this module.

pytest loads plugins before any test: torch and MLIR must wait until a test asks for a fixture.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def assert_pass() -> "Callable[..., None]":
    """`assert_pass(rewrite, before, expected)`: see `ingot.passes.testing.assert_pass`."""
    return _assertion("assert_pass")


@pytest.fixture(scope="session")
def assert_equivalent() -> "Callable[..., None]":
    """`assert_equivalent(before, after)`: see `ingot.passes.testing.assert_equivalent`."""
    return _assertion("assert_equivalent")


@pytest.fixture(scope="session")
def assert_contract() -> "Callable[..., None]":
    """`assert_contract(one_pass)`: see `ingot.passes.testing.assert_contract`."""
    return _assertion("assert_contract")


def _assertion(name: str) -> "Callable[..., None]":
    from ingot.passes import testing

    found: Callable[..., None] = getattr(testing, name)
    return found
