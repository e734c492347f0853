"""Reading what a compiler made of a program: collectives, fusion, copies of weights."""

from .collectives import Collective
from .copies import WeightCopy
from .summary import Analysis, analyse

__all__ = ["Analysis", "Collective", "WeightCopy", "analyse"]
