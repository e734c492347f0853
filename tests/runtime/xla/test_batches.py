"""Batches as runs of fixed sizes: whatever the split, every row is that of the whole batch."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingot.runtime.executor import StepBatch
from ingot.runtime.sampling import SamplingParams
from ingot.runtime.xla.batches import Run, split_batch, step_inputs, wanted_rows
from ingot.runtime.xla.mesh import DeviceMesh
from ingot.runtime.xla.plan import Step, XlaPlan
from tests.runtime.conftest import Client, ToyExecutor, toy_limits

MakeClient = Callable[..., Client]
PAGES = 40  # of a data group


def make_plan(mesh: str, *sizes: tuple[int, int, int, int, bool]) -> XlaPlan:
    parsed = DeviceMesh.parse(mesh)
    return XlaPlan(
        platform="cpu",
        topology="",
        mesh=parsed,
        places=tuple(range(parsed.devices)),
        build="",
        vocab_size=97,
        max_positions=64,
        page_tokens=16 * parsed.size("cp"),
        num_pages=PAGES * parsed.data_groups,
        row_width=0,
        token_types=0,
        kv_dtype="float32",
        pools=(),
        parameters=(),
        steps=tuple(Step(*size, stages=()) for size in sizes),
    )


DECODES = ((1, 1, 1, 4, True), (4, 4, 4, 4, True))
PREFILLS = ((8, 4, 4, 4, False), (32, 6, 6, 4, False), (8, 4, 8, 4, False))


class Mesh:
    """A device for each data group, which runs the toy model on the inputs of its program."""

    def __init__(self, plan: XlaPlan) -> None:
        self.plan = plan
        limits = toy_limits(num_pages=PAGES, max_positions=64, max_step_tokens=512)
        self.devices = [ToyExecutor(limits) for _ in range(plan.mesh.data_groups)]
        groups = plan.mesh.data_groups
        self.limits = replace(
            limits, num_pages=PAGES * groups, max_step_tokens=32 * groups, data_groups=groups
        )

    def step(self, batch: StepBatch) -> NDArray[np.float32]:
        logits = np.full((len(batch.row_ids), 97), np.nan, np.float32)
        for run in split_batch(batch, self.plan):
            for group, device in enumerate(self.devices):
                inputs = step_inputs(batch, run, self.plan, group, 0)
                inside, outside = wanted_rows(batch, run.works[group])
                if run.works[group]:
                    found = device.step(as_batch(inputs, run, self.plan, len(inside)))
                    logits[outside] = found
        return logits

    def close(self) -> None:
        pass


def as_batch(inputs: list[NDArray[np.int32]], run: Run, plan: XlaPlan, rows: int) -> StepBatch:
    """Check the padding of a program's inputs, and return what is inside of it."""
    tokens, positions, ids, slots, tables, starts, lengths, number, row_ids = inputs
    step, count, total = run.step, int(number[0]), int(starts[int(number[0])])
    assert [len(a) for a in (tokens, positions, ids, slots)] == [step.tokens] * 4
    assert tables.shape == (step.sequences, step.blocks) and len(row_ids) == step.rows
    assert len(starts) == step.sequences + 1 and (starts[count:] == total).all()
    assert (slots[total:] == -1).all() and (lengths[count:] == 0).all()
    assert all(array.dtype == np.int32 for array in inputs)
    assert 0 <= ids.min() and ids.max() < step.sequences
    page, place = np.divmod(positions[:total], plan.page_tokens)
    assert (slots[:total] == tables[ids[:total], page] * plan.page_tokens + place).all()
    for row in range(count):
        assert (ids[starts[row] : starts[row + 1]] == row).all()
        assert lengths[row] == positions[starts[row + 1] - 1] + 1
    if step.decode:
        assert (ids == np.arange(step.tokens)).all()
    return StepBatch(
        token_ids=tokens[:total],
        positions=positions[:total],
        starts=starts[: count + 1],
        block_tables=tables[:count],
        row_ids=row_ids[:rows],
    )


def make_batch(plan: XlaPlan, pieces: list[tuple[int, int, int, bool]], seed: int = 0) -> StepBatch:
    """Pieces are (sequence, first position, tokens, all rows or the last); its pages are its own.

    Sequence s is in group s % groups, with pages 4 (s // groups) … of the group.
    """
    groups = plan.mesh.data_groups
    tokens, positions, starts, tables, rows = [], [], [0], [], []
    numbers = np.random.default_rng(seed)
    for sequence, first, count, everything in pieces:
        begin = starts[-1]
        tokens += numbers.integers(0, 97, count).tolist()
        positions += range(first, first + count)
        starts.append(begin + count)
        used = -(-(first + count) // plan.page_tokens)
        base = sequence % groups * PAGES + 4 * (sequence // groups)
        tables.append([base + i if i < used else 0 for i in range(4)])
        rows += range(begin, begin + count) if everything else [begin + count - 1]
    arrays = (np.array(each, np.int32) for each in (tokens, positions, starts, tables, rows))
    return StepBatch(*arrays)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["", "dp2", "tp2xep3", "dp2xep2"]),
    st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=10),
    st.booleans(),
    st.integers(0, 3),
)
def test_rows_are_those_of_the_whole_batch(
    mesh: str, lengths: list[tuple[int, bool]], with_decodes: bool, tails: int
) -> None:
    plan = make_plan(mesh, *(DECODES if with_decodes else ()), *PREFILLS)
    limits = toy_limits(num_pages=plan.num_pages, max_positions=64, max_step_tokens=512)
    whole, divided = ToyExecutor(replace(limits, data_groups=plan.mesh.data_groups)), Mesh(plan)
    first = [(s, 0, count, every) for s, (count, every) in enumerate(lengths)]
    second = [(s, count, 1 + (s < tails), False) for s, (count, _) in enumerate(lengths)]
    for number, pieces in enumerate((first, second)):
        batch = make_batch(plan, pieces, number)
        np.testing.assert_array_equal(divided.step(batch), whole.step(batch))


def test_the_smallest_step_that_holds_a_batch_runs_it() -> None:
    plan = make_plan("", *PREFILLS, *DECODES)

    def sizes(*pieces: tuple[int, int, int, bool]) -> list[tuple[int, int, bool]]:
        runs = split_batch(make_batch(plan, list(pieces)), plan)
        return [(run.step.tokens, run.step.rows, run.step.decode) for run in runs]

    assert sizes((0, 7, 1, False)) == [(1, 1, True)]
    assert sizes((0, 7, 1, False), (1, 20, 1, False)) == [(4, 4, True)]
    assert sizes((0, 7, 1, False), (1, 0, 5, False)) == [(8, 4, False)]
    assert sizes((0, 0, 8, True)) == [(8, 8, False)]
    assert sizes((0, 0, 30, False), (1, 3, 1, False)) == [(32, 6, False)]
    assert sizes((0, 0, 40, False)) == [(32, 6, False), (8, 4, False)]
    assert sizes(*((s, 7, 1, False) for s in range(6))) == [(32, 6, False)]
    assert sizes(*((s, 7, 1, False) for s in range(6)), (0, 8, 5, True))[-1] == (8, 8, False)


def test_of_steps_of_one_size_the_decoding_one_decodes() -> None:
    plan = make_plan("", (4, 4, 4, 4, False), (4, 4, 4, 4, True))
    [run] = split_batch(make_batch(plan, [(0, 7, 1, False), (1, 3, 1, False)]), plan)
    assert run.step.decode
    [run] = split_batch(make_batch(plan, [(0, 7, 2, False), (1, 3, 1, False)]), plan)
    assert not run.step.decode


@pytest.mark.parametrize("mesh", ["", "dp2", "dp3xtp2"])
def test_requests_are_answered_as_by_one_device(mesh: str, make_client: MakeClient) -> None:
    plan = make_plan(mesh, *DECODES, *PREFILLS)
    client, alone = make_client(executor=Mesh(plan)), make_client(max_positions=64)
    prompts = [[(7 * i + 3 * n) % 97 for i in range(4 + 5 * n)] for n in range(9)]
    prompts += [[*prompts[8][:32], 5], [*prompts[7][:16], 6]]
    params = SamplingParams(max_tokens=9, temperature=0)
    numbers = [(client.submit(p, params), alone.submit(p, params)) for p in prompts]
    client.run()
    alone.run()
    for mine, theirs in numbers:
        assert client.tokens(mine) == alone.tokens(theirs)


def test_every_group_runs_though_one_has_no_work() -> None:
    plan = make_plan("dp2", *DECODES)
    batch = make_batch(plan, [(1, 3, 1, False)])
    [run] = split_batch(batch, plan)
    assert [len(work) for work in run.works] == [0, 1]
    idle = step_inputs(batch, run, plan, 0, 0)
    assert (idle[3] == -1).all() and not idle[4].any() and not idle[6].any() and idle[7][0] == 0
    assert step_inputs(batch, run, plan, 1, 0)[4][0].tolist() == [0, 0, 0, 0]


def test_devices_along_cp_keep_16_tokens_of_a_page_each() -> None:
    plan = make_plan("cp2", (40, 2, 2, 4, False))
    batch = make_batch(plan, [(1, 10, 40, False)])
    [run] = split_batch(batch, plan)
    kept = [step_inputs(batch, run, plan, 0, cp)[3] for cp in range(2)]
    positions = np.arange(10, 50)
    expected = (4 + positions // 32) * 16 + positions % 16
    for cp, slots in enumerate(kept):
        mine = positions // 16 % 2 == cp
        np.testing.assert_array_equal(slots, np.where(mine, expected, -1))


def test_a_sequence_too_long_for_every_step_is_refused() -> None:
    plan = make_plan("", (8, 2, 2, 1, False))
    with pytest.raises(ValueError, match="no compiled step holds a sequence of 21 tokens"):
        split_batch(make_batch(plan, [(0, 20, 1, False)]), plan)
