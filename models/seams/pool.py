"""The opaque operator for one row a sequence in place of one a token.

A graph is traced on one sequence, but runs on many that stand one after the other: whatever picks
or sums tokens must be told where each begins, and so is an operator of its own.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

KINDS = ("cls", "mean", "max", "last")


@torch.library.custom_op("ingot::pool", mutates_args=())
def pool(hidden: Tensor, kind: str) -> Tensor:
    """Pool hidden `[1, T, features]` of S sequences to `[1, S, features]`.

    `kind`: the first token's row (cls), the last one's (last), or all rows' mean or max.  In the
    trace the number of rows stays the symbol T, as it does where rows are selected for logits.
    """
    raise AssertionError("an opaque operator is only traced")


@pool.register_fake
def _(hidden: Tensor, kind: str) -> Tensor:
    return torch.empty_like(hidden)


class FirstTokenIsPooled(TorchFunctionMode):
    """Makes `hidden[:, 0]`, by which a model picks its first token, the pooling `cls`.

    The result is `[S, features]`: what stands behind it treats every row alone.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__getitem__ and _picks_first_token(*args):
            hidden = args[0]
            return pool(hidden, "cls").reshape(-1, hidden.shape[-1])
        return func(*args, **(kwargs or {}))


def _picks_first_token(tensor: Tensor, key: object) -> bool:
    if not isinstance(key, tuple) or tensor.dim() != 3 or not tensor.is_floating_point():
        return False
    whole = slice(None)
    return key in ((whole, 0), (whole, 0, whole), (whole, 0, ...))
