"""State slots at the executor's door: what a batch must say, and how many there are."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ingot.errors import UsageError
from ingot.runtime.executor import StepBatch
from ingot.runtime.native_executor import MAX_STATE_SLOTS, NativeExecutor

Make = Callable[..., NativeExecutor]


def stateful(tiny: Any) -> Any:
    states = [
        {"layer": 0, "name": "conv0", "bytes": 128},
        {"layer": 1, "name": "ssm", "bytes": 4096},
    ]
    return {**tiny.plan(), "states": states}


def two(tiny: Any, *slots: int) -> StepBatch:
    batch = tiny.batch([([3, 4], 0, [1]), ([5], 0, [2])])
    return replace(batch, state_slots=np.array(slots, np.int32))


def test_slots_are_as_many_as_asked_for(make_executor: Make, tiny: Any) -> None:
    assert make_executor(stateful(tiny), state_slots=3).limits.state_slots == 3
    assert make_executor(stateful(tiny)).limits.state_slots == MAX_STATE_SLOTS
    assert make_executor(state_slots=3).limits.state_slots == 0
    with pytest.raises(UsageError, match="states of 0 sequences"):
        make_executor(stateful(tiny), state_slots=0)


@pytest.mark.parametrize(
    "slots, message",
    [
        ((), "0 state slots for 2 sequences"),
        ((1, 3), r"state_slots\[1\] is 3, outside 0"),
        ((2, 2), "two sequences have one state slot"),
    ],
)
def test_a_batch_needs_slots(
    make_executor: Make, tiny: Any, slots: tuple[int, ...], message: str
) -> None:
    executor = make_executor(stateful(tiny), state_slots=3)
    with pytest.raises(ValueError, match=message):
        executor.step(two(tiny, *slots))
    assert executor.step(two(tiny, 2, 0)).shape[0] == 3


def test_a_model_without_state_reads_no_slots(make_executor: Make, tiny: Any) -> None:
    assert make_executor().step(two(tiny)).shape[0] == 3
