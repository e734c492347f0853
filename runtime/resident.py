"""Weights in memory: mapped at first, in huge pages soon after.

Streaming them from huge pages decodes about a tenth faster than from a mapped file, whose pages are
small; but a process that starts need not wait for that.  A file that takes more than half of the
free memory stays mapped.
"""

from collections.abc import Mapping

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
    """The weights of an artifact; their addresses stay as they are while views of them live."""

    def __init__(self, artifact: Artifact) -> None:
        path = artifact.path / WEIGHTS
        self._file: _native.ResidentFile | None = None
        self.weights: Weights = artifact.weights
        if path.stat().st_size <= MOST_OF_MEMORY * available_memory():
            self._file = _native.ResidentFile(str(path))
            self.weights = parse_weights(path, self._file.content.data)

    def settle(self, *, wait: bool = False) -> None:
        """Begin to move the weights to huge pages, or do it and `wait` for that."""
        if self._file is not None:
            self._file.settle()
            if wait:
                self._file.wait()

    def close(self) -> None:
        """Let the weights go, but for views that others hold."""
        self.weights, self._file = {}, None
