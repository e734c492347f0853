"""Checkpoints and architectures: what the compiler takes in."""

from .checkpoint import Checkpoint
from .importer import import_model
from .opening import open_checkpoint
from .weights import StoredWeight, WeightInfo, Weights

__all__ = ["Checkpoint", "StoredWeight", "WeightInfo", "Weights", "import_model", "open_checkpoint"]
