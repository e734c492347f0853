"""What the tests of the IR share: building single operations."""

from collections.abc import Callable, Iterator

import pytest
import torch

from ingot.ir import (
    DYNAMIC,
    InsertionPoint,
    IntegerType,
    Location,
    Module,
    Op,
    Quant,
    Type,
    Value,
    activation_type,
    float_tensor,
    func,
    index_type,
    new_context,
    step_inputs,
    tensor_type,
)


class Builder:
    """Builds one operation at a time, in a function whose parameters are its operands."""

    def __init__(self) -> None:
        self.context = new_context()
        # An operation does not keep its module alive.
        self.modules: list[Module] = []

    def activation(self, columns: int, rounded: bool = False) -> Type:
        return activation_type(columns, self.context, rounded=rounded)

    def weight(self, *shape: int, encoding: str = "") -> Type:
        plain = float_tensor(shape, self.context)
        return Quant.of(plain, encoding) if encoding else plain

    def choices(self, count: int) -> Type:
        return tensor_type([DYNAMIC, count], IntegerType.get_signless(32, self.context))

    @property
    def indices(self) -> Type:
        return index_type(self.context)

    @property
    def batch(self) -> Type:
        return step_inputs(self.context)[2]

    def __call__(self, make: Callable[..., Op], *operands: Type) -> Op:
        """Return the verified operation that `make` builds from values of these types."""
        module = Module.create(self.context)
        with Location.file("built.py", 7, 1, self.context), InsertionPoint(module.mlir.body):
            function = func.FuncOp("f", (list(operands), []))
            block = function.add_entry_block()
            with InsertionPoint(block):
                op = make(*_arguments(block))
                func.ReturnOp([])
        module.verify()
        self.modules.append(module)
        return op


def _arguments(block: object) -> list[Value]:
    return list(block.arguments)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute on one thread: tensors this small are slower on more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def build() -> Builder:
    """A builder of single operations, in a context of its own."""
    return Builder()


@pytest.fixture
def tokens() -> int:
    """How many tokens a step has: odd on purpose."""
    assert DYNAMIC < 0
    return 7
