"""Opaque masks: which tokens a layer sees is read off the mask that the model asks for.

transformers' builders of masks hand a table's function the predicate (query, key) → seen that they
composed.  `MASK`, put into that table, recognises the predicate by the functions that it was
composed of, and returns a tensor that stands for it: an opaque operator that attention, the other
seam, looks through.  A model that changes the mask, or computes with it, is refused.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from transformers import masking_utils
from transformers.masking_utils import AttentionMaskInterface

from ingot.errors import UnsupportedError

_MARK = "_ingot_sight"
_ALL_ONES = "_ingot_all_ones"
"""Marks a mask of ones, by which a model says that no token is padding."""


@dataclass(frozen=True)
class Sight:
    """Which tokens of its sequence a token sees; `lm.attention` says what the numbers mean."""

    causal: bool = False
    window: int = 0
    chunk: int = 0

    def covers(self, other: "Sight") -> bool:
        """Return whether a token sees here whatever it sees there."""
        wide = not self.window or 0 < other.window <= self.window
        return (not self.causal or other.causal) and wide and self.chunk in (0, other.chunk)


@torch.library.custom_op("ingot::mask", mutates_args=())
def mask(near: Tensor, queries: int, keys: int) -> Tensor:
    """A mask `[1, 1, queries, keys]` of the type and device of `near` that is never computed."""
    raise AssertionError("an opaque operator is only traced")


@mask.register_fake
def _(near: Tensor, queries: int, keys: int) -> Tensor:
    return near.new_empty(1, 1, queries, keys)


def sight_of(mask: Tensor) -> Sight | None:
    """Return what a mask stands for; None where it is not as it came from the table."""
    found = getattr(mask, _MARK, None)
    assert found is None or isinstance(found, Sight)
    return found


def _mask_function(
    q_length: int,
    kv_length: int,
    mask_function: Callable[..., Any],
    attention_mask: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
    **others: object,
) -> Tensor:
    """Take what transformers' own functions of the table take."""
    sight = recognised(mask_function)
    hides = attention_mask is not None and not getattr(attention_mask, _ALL_ONES, False)
    if sight is None or hides:
        raise UnsupportedError(
            f"the model masks its attention by {_name_of(mask_function)}"
            f"{' and by its tokens' if hides else ''}, which is not known here",
            hint="Give a model whose tokens see those before them, a window, a chunk, or all.",
        )
    result = mask(torch.empty((), dtype=dtype, device=device), q_length, kv_length)
    assert isinstance(result, Tensor)
    setattr(result, _MARK, sight)
    return result


class looking_through(TorchFunctionMode):
    """While it is on, a mask in another type, or the whole of it cut out, stands for the same.

    So does a mask of ones in another type.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        kept = func is torch.Tensor.to and getattr(args[0], _ALL_ONES, False)
        if func is torch.ones or kept:
            setattr(result, _ALL_ONES, True)
        same = func is torch.Tensor.to or (
            func is torch.Tensor.__getitem__ and _takes_all(args[0], args[1])
        )
        if same and (sight := sight_of(args[0])) is not None:
            setattr(result, _MARK, sight)
        return result


def _takes_all(mask: Tensor, key: object) -> bool:
    """Return whether `mask[key]` is the whole mask."""
    keys = key if isinstance(key, tuple) else (key,)
    return mask.ndim >= len(keys) and all(
        isinstance(one, slice)
        and one.start in (None, 0)
        and one.step in (None, 1)
        and (one.stop is None or statically_known_true(one.stop == size))
        for one, size in zip(keys, mask.shape, strict=False)
    )


def recognised(function: Callable[..., Any]) -> Sight | None:
    """Return what a predicate of transformers shows, None for one that is not known."""
    if function is masking_utils.causal_mask_function:
        return Sight(causal=True)
    if function is masking_utils.bidirectional_mask_function:
        return Sight()
    parts = inspect.getclosurevars(function).nonlocals
    for maker, reader in _MAKERS.items():
        if function.__qualname__.startswith(f"{maker.__qualname__}.<locals>."):
            return reader(parts)
    # A predicate may make tensors, which must not become constants of the trace.
    with _disable_current_modes():
        return _by_trial(function, parts)


def _by_trial(function: Callable[..., Any], parts: Mapping[str, Any]) -> Sight | None:
    """Return what a model's own predicate shows, if it knows a window alone, or nothing at all."""
    if not parts and function.__code__.co_argcount == 0:
        return Sight() if bool(function()) else None
    if len(parts) != 1 or not isinstance(size := next(iter(parts.values())), int):
        return None
    for window in (size, size + 1):
        distances = range(-size - 2, size + 3)
        if all(
            bool(function(0, 0, query, query + distance)) == (abs(distance) < window)
            for query in (3 * size, 5 * size)
            for distance in distances
        ):
            return Sight(window=window)
    return None


def _either(parts: Mapping[str, Any]) -> Sight | None:
    """A token is seen where one predicate says so, if that shows all that the others do."""
    known = [recognised(function) for function in parts["mask_functions"]]
    shown = [one for one in known if one is not None]
    if len(shown) < len(known):
        return None
    return next((one for one in shown if all(one.covers(other) for other in shown)), None)


def _both(parts: Mapping[str, Any]) -> Sight | None:
    """A token is seen where all predicates say so."""
    total = Sight()
    for function in parts["mask_functions"]:
        one = recognised(function)
        if one is None or (one.window and total.window) or (one.chunk and total.chunk):
            return None
        total = Sight(
            one.causal or total.causal, one.window or total.window, one.chunk or total.chunk
        )
    return total


def _everything(parts: Mapping[str, Any]) -> Sight:
    """Sequences never see each other here: each has a cache of its own."""
    return Sight()


_MAKERS: Mapping[Callable[..., Any], Callable[[Mapping[str, Any]], Sight | None]] = {
    masking_utils.and_masks: _both,
    masking_utils.or_masks: _either,
    masking_utils.sliding_window_overlay: lambda parts: Sight(window=parts["sliding_window"]),
    masking_utils.sliding_window_bidirectional_overlay: lambda parts: Sight(
        window=parts["sliding_window"] + 1
    ),
    masking_utils.chunked_overlay: lambda parts: Sight(chunk=parts["chunk_size"]),
    masking_utils.packed_sequence_mask_function: _everything,
    masking_utils.remap_positions_for_packed_sequence: lambda parts: recognised(
        parts["mask_function"]
    ),
}
"""By the function of transformers that makes a predicate: what the predicate shows."""


def _name_of(function: Callable[..., Any]) -> str:
    parts = inspect.getclosurevars(function).nonlocals
    inner = [*parts.get("mask_functions", ()), *filter(callable, [parts.get("mask_function")])]
    own = function.__qualname__.removesuffix(".<locals>.inner_mask")
    return " with ".join(_name_of(part) for part in inner) or own


def register(implementation: str) -> None:
    """Put the opaque masks into transformers' table."""
    AttentionMaskInterface.register(implementation, _mask_function)
