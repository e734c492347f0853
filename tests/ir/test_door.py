"""The door of the package shows everything that stands behind it."""

import pkgutil

from ingot import ir
from ingot.ir import Op, all_operations, ops


def test_every_operation_is_found_and_exported() -> None:
    files = {entry.name for entry in pkgutil.iter_modules(ops.__path__)}
    operations = all_operations()
    assert {f"lm.{name}" for name in files} == set(operations)
    for operation in operations.values():
        assert getattr(ir, operation.__name__) is operation


def test_every_operation_says_what_it_means_and_costs() -> None:
    for name, operation in all_operations().items():
        assert operation.__doc__, name
        assert operation.check is not Op.check, name
        assert operation.cost is not Op.cost, name
        if operation.collective:
            assert operation.across is not Op.across, name
        elif name != "lm.weight":
            assert operation.reference is not Op.reference, name
