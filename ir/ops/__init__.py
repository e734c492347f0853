"""The operations of `lm`, one a file; the files here are the list."""

import importlib
import pkgutil

from ingot.ir.operation import Op


def all_operations() -> dict[str, type[Op]]:
    """Return the class of every operation by its full name (`lm.linear`)."""
    found: dict[str, type[Op]] = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        for value in vars(module).values():
            if not isinstance(value, type) or not issubclass(value, Op) or value is Op:
                continue
            name = value.OPERATION_NAME
            owner = found.setdefault(name, value)
            assert owner is value, f"{name} is defined by {owner.__module__} and {value.__module__}"
    return found
