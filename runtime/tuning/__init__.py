"""Choosing among kernels that compute the same: by a short measurement, kept for the next start."""

from .choice import NO_CHOICES, Choice, Choices
from .tune import Subject, choose, describe

__all__ = ["NO_CHOICES", "Choice", "Choices", "Subject", "choose", "describe"]
