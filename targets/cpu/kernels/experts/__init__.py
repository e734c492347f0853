"""Kernels of routers and experts: `lm.route` and `lm.experts`.

The (token, choice) pairs of a step are put in the order of their experts, so that each expert's
rows lie one below the other and the linear kernels run on them as they are.  An activation of pairs
is a buffer of rows in that order; *places* say in which of them a pair's row is.
"""

from .grouping import group_kernel, spread_kernel
from .linear import expert_linear_kernel
from .mixing import mix_kernel, unit_kernel
from .route import route_kernel

__all__ = [
    "expert_linear_kernel",
    "group_kernel",
    "mix_kernel",
    "route_kernel",
    "spread_kernel",
    "unit_kernel",
]
