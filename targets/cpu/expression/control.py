"""Loops and branches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ingot.ir import ir, scf

from .types import I64, Type
from .values import Number, Value, constant


@dataclass(eq=False)
class Loop:
    """A loop under construction: its index, its carried values and, afterwards, their results."""

    index: Value
    carried: tuple[Value, ...]
    results: tuple[Value, ...] = ()
    _next: tuple[Value, ...] = ()

    def carry(self, *values: Value) -> None:
        """Give the carried values of the next iteration; call it once, at the end of the body."""
        assert [v.type for v in values] == [c.type for c in self.carried], "carried types differ"
        self._next = values


@contextmanager
def loop(
    begin: Number, end: Number, step: Number = 1, carried: Sequence[Value] = ()
) -> Iterator[Loop]:
    """Build `for index in range(begin, end, step)` over i64 with loop-carried values.

    with loop(0, n, carried=[zero]) as body:
        body.carry(body.carried[0] + pointer.load(F32, body.index * 4))
    (total,) = body.results
    """
    bounds = [b if isinstance(b, Value) else constant(I64, b) for b in (begin, end, step)]
    built = scf.ForOp(*(b.mlir for b in bounds), [value.mlir for value in carried])
    types = [value.type for value in carried]
    inner = tuple(Value(a, t) for a, t in zip(built.inner_iter_args, types, strict=True))
    state = Loop(Value(built.induction_variable, I64), inner)
    with ir.InsertionPoint(built.body):
        yield state
        assert len(state._next) == len(types), "a loop with carried values must call carry()"
        scf.YieldOp([value.mlir for value in state._next])
    state.results = tuple(Value(r, t) for r, t in zip(built.results, types, strict=True))


@contextmanager
def when(condition: Value) -> Iterator[None]:
    """Run the statements of the block only where a scalar condition holds."""
    built = scf.IfOp(condition.mlir)
    with ir.InsertionPoint(built.then_block):
        yield
        scf.YieldOp([])


def choose(
    condition: Value,
    then: Callable[[], Sequence[Value]],
    otherwise: Callable[[], Sequence[Value]],
    types: Sequence[Type],
) -> tuple[Value, ...]:
    """Branch on a scalar condition; each side computes values of `types`."""
    built = scf.IfOp(condition.mlir, [t.mlir() for t in types], has_else=True)
    for block, side in ((built.then_block, then), (built.else_block, otherwise)):
        with ir.InsertionPoint(block):
            values = side()
            assert [v.type for v in values] == list(types), "the two sides must agree"
            scf.YieldOp([value.mlir for value in values])
    return tuple(Value(r, t) for r, t in zip(built.results, types, strict=True))
