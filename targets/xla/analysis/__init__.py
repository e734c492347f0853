"""Reading what a compiler made of a program: collectives, fusion, copies of weights."""

from .caches import CacheCopy
from .collectives import Collective
from .copies import WeightCopy
from .summary import Analysis, analyse

__all__ = ["Analysis", "CacheCopy", "Collective", "WeightCopy", "analyse"]
