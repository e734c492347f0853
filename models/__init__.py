"""Checkpoints and architectures: what the compiler takes in."""

from .blueprint import open_blueprint
from .builtin import fetch_builtin, find_builtin, is_builtin
from .checkpoint import Checkpoint
from .importer import import_model
from .opening import open_checkpoint
from .random_checkpoint import small_tokenizer, write_random_checkpoint
from .weights import StoredWeight, WeightInfo, Weights

__all__ = [
    "Checkpoint",
    "StoredWeight",
    "WeightInfo",
    "Weights",
    "fetch_builtin",
    "find_builtin",
    "import_model",
    "is_builtin",
    "open_blueprint",
    "open_checkpoint",
    "small_tokenizer",
    "write_random_checkpoint",
]
