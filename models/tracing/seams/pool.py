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


class PooledByTheModel(TorchFunctionMode):
    """Makes what a model does over all tokens the pooling that it means.

    `hidden[:, 0]` is `cls` and `hidden.mean(dim=1)` is `mean`.  The result is `[S, features]`: what
    stands behind it treats every row alone.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if func is Tensor.__getitem__ and _is_hidden(args[0]) and _is_first(args[1]):
            return _rows(args[0], "cls")
        if func is Tensor.mean and _is_hidden(args[0]) and (*args[1:], options.get("dim"))[0] == 1:
            return _rows(args[0], "mean")
        return func(*args, **options)


def _rows(hidden: Tensor, kind: str) -> Tensor:
    rows = pool(hidden, kind).reshape(-1, hidden.shape[-1])
    assert isinstance(rows, Tensor)
    return rows


def _is_hidden(tensor: object) -> bool:
    return isinstance(tensor, Tensor) and tensor.dim() == 3 and tensor.is_floating_point()


def _is_first(key: object) -> bool:
    whole = slice(None)
    return isinstance(key, tuple) and key in ((whole, 0), (whole, 0, whole), (whole, 0, ...))
