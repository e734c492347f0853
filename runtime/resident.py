"""Weights in memory of huge pages, read in the background while the rest of a model loads.

Streaming them from there decodes about a tenth faster than from a mapped file, whose pages are
small.  A file that takes more than half of the free memory stays mapped.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from . import _native
from .artifact import Artifact
from .artifact_format import WEIGHTS
from .machine import available_memory
from .weight_file import parse_weights

Weights = Mapping[str, NDArray[np.uint8]]

MOST_OF_MEMORY = 0.5


class ResidentWeights:
    """The weights of an artifact, on their way into memory from the start of its life."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        self._artifact = artifact
        self._path = artifact.path / WEIGHTS
        self._reading: Future[NDArray[np.uint8]] | None = None
        if self._path.stat().st_size <= MOST_OF_MEMORY * available_memory():
            pool = ThreadPoolExecutor(1)
            self._reading = pool.submit(_native.read_resident, str(self._path), max(1, threads))
            pool.shutdown(wait=False)

    def get(self) -> Weights:
        """Wait for the weights; the mapped file where memory was short or could not be had."""
        if self._reading is None:
            return self._artifact.weights
        try:
            content = self._reading.result()
        except _native.Error:
            return self._artifact.weights
        return parse_weights(self._path, content.data)
