"""Every registered pass keeps its contract on drawn modules, weights and batch layouts."""

from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingot.errors import UsageError
from ingot.ir import shape_of
from ingot.passes import (
    all_passes,
    parse_pipeline,
    random_sample,
    random_weights,
    verify_pass,
)
from ingot.passes.testing import random_lengths, random_module
from ingot.targets import Settings, find_target

T = TypeVar("T")
PIPELINE = parse_pipeline(find_target("cpu").pipeline(Settings()))
EXAMPLES = 12
REFUSING = {"rotate"}
"""Passes that are not for every module, and leave what they refuse as it was."""


@pytest.mark.parametrize("name", sorted(all_passes()))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_every_pass_keeps_its_contract(name: str, data: st.DataObject) -> None:
    """On a module as drawn, or as the first passes of the CPU pipeline leave it."""

    def choose(options: Sequence[T]) -> T:
        return data.draw(st.sampled_from(list(options)))

    module = random_module(choose)
    earlier = PIPELINE.passes[: choose(range(len(PIPELINE.passes)))]
    for one in earlier:
        one.run(module)
    lengths = random_lengths(choose)
    table = next(op for op in module.step.entry_block.operations if "embedding" in op.name)
    sample = random_sample(shape_of(table.table)[0], lengths)
    before = str(module)
    try:
        verify_pass(all_passes()[name](), module, random_weights(module), sample)
    except UsageError:
        assert name in REFUSING and str(module) == before
