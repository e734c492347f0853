"""GGUF files as checkpoints: header, configuration, tokenizer, names and block types."""

from .header import MAGIC
from .opening import open_gguf

__all__ = ["MAGIC", "open_gguf"]
