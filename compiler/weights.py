"""Packing weights ahead of the writer: a few at a time, each on a thread of its own.

torch divides every operation among all cores, which costs more than it gains on operations as
small as those of quantisation, most of all on a busy machine.  So each weight is evaluated on one
thread, and as many weights side by side as there are cores.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from ingot.ir import evaluate_weight
from ingot.models import Checkpoint
from ingot.runtime.machine import usable_threads
from ingot.targets import PackedWeight, Target

from .artifact import WeightEntry

Packed = NDArray[np.uint8]


@contextmanager
def packed_ahead(
    target: Target, weights: Sequence[PackedWeight], checkpoint: Checkpoint
) -> Iterator[list[WeightEntry]]:
    """Give the entries of an artifact's weights, to be made in their order within the block.

    Making one starts those after it, up to the number of cores; no more are in memory at once.
    """
    workers = usable_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    pending: dict[int, Future[Packed]] = {}

    def pack(weight: PackedWeight) -> Packed:
        value = evaluate_weight(weight.value, checkpoint.weights, coordinates=weight.coordinates)
        return target.pack(weight, value)

    def make(index: int) -> Packed:
        for ahead in range(index, min(index + workers, len(weights))):
            if ahead not in pending:
                pending[ahead] = pool.submit(pack, weights[ahead])
        return pending.pop(index).result()

    try:
        yield [
            WeightEntry(weight.name, weight.num_bytes, partial(make, index))
            for index, weight in enumerate(weights)
        ]
    finally:
        pool.shutdown(cancel_futures=True)
