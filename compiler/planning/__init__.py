"""Chooses how a model is divided and stored: meshes, encodings and types of the KV cache."""

from .plan import Plan, make_plan, winner
from .request import Request

__all__ = ["Plan", "Request", "make_plan", "winner"]
