"""Finds the values of a model whose features may be rotated, and who makes and reads them."""

from .heads import TurnedHeads as TurnedHeads
from .heads import turned_heads as turned_heads
from .stream import Stream as Stream
from .stream import find_stream as find_stream
