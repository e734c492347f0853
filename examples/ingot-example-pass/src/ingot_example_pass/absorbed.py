"""Raise a model, then absorb the factors that its configuration spreads over it."""

PASSES = ("lift", "absorb-scales")
