"""The form of a rule that evaluates a torch op on forms."""

from collections.abc import Callable

from ingot.ir import OpView, Value

from .forms import Form

Walk = Callable[[Value, int], Form | None]
"""Returns the form of a value, at most so many ops deep."""
Rule = Callable[[Walk, OpView, int], Form | None]
"""Returns the form of the result of an op, None where it computes something else."""
