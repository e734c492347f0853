"""What an `Inspector` notes of the passes that it watches."""

import random
from itertools import pairwise

from ingot.compiler.inspection import Inspection, Inspector
from ingot.passes import parse_pipeline
from ingot.passes.testing import random_module

PIPELINE = "canonicalize,merge-linears,fuse-norms,quantize{linear=int8}"


def test_a_module_is_measured_once_between_two_passes() -> None:
    inspector = Inspector(Inspection(report=True))
    module = random_module(random.Random(3).choice)
    parse_pipeline(PIPELINE).run(module, inspector.callback)
    records = inspector.records
    assert all(later.before is earlier.after for earlier, later in pairwise(records))
    assert records[-1].after.weight_bytes < 0.5 * records[0].before.weight_bytes


def test_another_module_is_measured_anew() -> None:
    inspector = Inspector(Inspection(report=True))
    for seed in (3, 4):
        module = random_module(random.Random(seed).choice)
        parse_pipeline(PIPELINE).run(module, inspector.callback)
    last, first = inspector.records[3:5]
    assert first.before != last.after and "lm.quantize" not in first.before.ops
