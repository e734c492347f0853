"""The opaque operators in place of convolutions and scans along a sequence.

transformers marks the functions that carry a state from token to token by the name of the kernel
that could replace each.  While a model is traced, those functions are bound to ours, which leave
one opaque operator each; what treats every token alone (biases, softplus, gates) stays in torch.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ingot.errors import UnsupportedError


@torch.library.custom_op("ingot::causal_conv", mutates_args=())
def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, layer: int, index: int, kind: str
) -> Tensor:
    """Convolution of every channel along its sequence: x `[1, T, C]`, weight `[C, width]`.

    `index` tells several of one layer apart; `kind` is the activation of the result, or none.
    """
    raise AssertionError("an opaque operator is only traced")


@causal_conv.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, layer: int, index: int, kind: str) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("ingot::ssm_scan", mutates_args=())
def ssm_scan(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor | None, layer: int
) -> Tensor:
    """Mamba-2: x `[1, T, H, P]`, dt `[1, T, H]`, a and d `[H]`, b and c `[1, T, G, N]` → x's."""
    raise AssertionError("an opaque operator is only traced")


@ssm_scan.register_fake
def _(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor | None, layer: int
) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("ingot::selective_scan", mutates_args=())
def selective_scan(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor | None, layer: int
) -> Tensor:
    """Mamba: x and dt `[1, T, C]`, a `[C, N]`, b and c `[1, T, N]`, d `[C]` → `[1, T, C]`."""
    raise AssertionError("an opaque operator is only traced")


@selective_scan.register_fake
def _(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor | None, layer: int
) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("ingot::delta_rule", mutates_args=())
def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, layer: int, normalize: bool
) -> Tensor:
    """Gated delta rule: q and k `[1, T, HK, DK]`, v `[1, T, HV, DV]`, beta `[1, T, HV]` → v's.

    g, the logarithm of the decay, is `[1, T, HV]`, or `[1, T, HV, DK]` for each row of the state.
    """
    raise AssertionError("an opaque operator is only traced")


@delta_rule.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, layer: int, normalize: bool
) -> Tensor:
    return v.new_empty(v.shape)


@dataclass
class _Layer:
    """A layer whose forward is running, and how many convolutions it has made."""

    index: int
    name: str
    convolutions: int = 0


@dataclass
class _Running:
    """The layers whose forward is running, the innermost last."""

    layers: list[_Layer] = field(default_factory=list)

    def enter(self, module: nn.Module, inputs: object) -> None:
        """Note that `module` starts."""
        self.layers.append(_Layer(module.layer_idx, type(module).__name__))  # type: ignore[arg-type]

    def leave(self, module: nn.Module, inputs: object, result: object) -> None:
        """Note that the innermost layer ends."""
        self.layers.pop()

    def current(self, initial: Tensor | None, others: Mapping[str, object]) -> _Layer:
        """Return the innermost layer; refuse what our operators do not know."""
        assert self.layers, "a layer without layer_idx mixes tokens"
        layer = self.layers[-1]
        unknown = sorted(name for name, value in others.items() if isinstance(value, Tensor))
        if unknown or initial is not None:
            raise UnsupportedError(
                f"{layer.name} takes {', '.join(unknown) or 'an initial state'}, which is not "
                "known here",
                hint="Give a model whose states start from zero.",
            )
        return layer


def _causal_conv(
    running: _Running,
    hidden_states: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    **others: Any,
) -> Tensor:
    """`causal_conv1d_fn`: hidden_states `[1, C, T]`."""
    layer = running.current(None, others)
    index, layer.convolutions = layer.convolutions, layer.convolutions + 1
    kind = {"swish": "silu", None: "none"}.get(activation, activation)
    assert kind is not None
    rows = hidden_states.transpose(1, 2)
    result: Tensor = causal_conv(rows, weight, bias, layer.index, index, kind)
    return result.transpose(1, 2)


def _step_size(
    dt: Tensor, bias: Tensor | None, softplus: bool, limits: tuple[float, float] = (0, float("inf"))
) -> Tensor:
    """Return the width of each token's step, dt `[1, T, H]`."""
    if bias is not None:
        dt = dt + bias
    if softplus:
        dt = functional.softplus(dt)
    if limits[0] > 0 or limits[1] < float("inf"):
        dt = torch.clamp(dt, min=limits[0], max=limits[1])
    return dt


def _ssm_scan(
    running: _Running,
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    initial_states: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, float("inf")),
    return_final_states: bool = False,
    **others: Any,
) -> Tensor:
    """`mamba_chunk_scan_combined`, without the final state."""
    layer = running.current(initial_states, others)
    assert not return_final_states
    steps = _step_size(dt, dt_bias, dt_softplus, dt_limit)
    result: Tensor = ssm_scan(hidden_states, steps, A, B, C, D, layer.index)
    return result if z is None else result * functional.silu(z)


def _selective_scan(
    running: _Running,
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    **others: Any,
) -> Tensor:
    """`selective_scan_fn`, without the last state; everything but A and D is `[1, …, T]`."""
    layer = running.current(None, others)
    assert not return_last_state
    x, steps, b, c = (tensor.transpose(1, 2) for tensor in (hidden_states, dt, B, C))
    steps = _step_size(steps, delta_bias, delta_softplus)
    result: Tensor = selective_scan(x, steps, A, b, c, D, layer.index)
    if z is not None:
        result = result * functional.silu(z.transpose(1, 2))
    return result.transpose(1, 2)


def _delta_rule(
    running: _Running,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    g: Tensor,
    beta: Tensor,
    chunk_size: int = 64,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    **others: Any,
) -> tuple[Tensor, None]:
    """`chunk_gated_delta_rule` and `chunk_kda`, without the final state."""
    layer = running.current(initial_state, others)
    assert not output_final_state
    normalize = use_qk_l2norm_in_kernel
    return delta_rule(query, key, value, g, beta, layer.index, normalize), None


_REPLACEMENTS: Mapping[str, Callable[..., Any]] = {
    "causal_conv1d_fn": _causal_conv,
    "mamba_chunk_scan_combined": _ssm_scan,
    "selective_scan_fn": _selective_scan,
    "chunk_gated_delta_rule": _delta_rule,
    "chunk_kda": _delta_rule,
}
"""Our functions by the name of the kernel in transformers' decorator."""


@contextmanager
def opaque_states(model: nn.Module) -> Iterator[None]:
    """Bind the marked functions of `model`'s code to ours while the context lasts."""
    running = _Running()
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(getattr(module, "layer_idx", None), int):
                before = module.register_forward_pre_hook(running.enter)
                stack.callback(before.remove)
                stack.callback(module.register_forward_hook(running.leave).remove)
        for owner, attribute, name in _marked(model):
            ours = partial(_REPLACEMENTS[name], running)
            stack.callback(setattr, owner, attribute, getattr(owner, attribute))
            setattr(owner, attribute, ours)
        yield


def _marked(model: nn.Module) -> list[tuple[ModuleType | nn.Module, str, str]]:
    """Return where functions to replace are bound: the owner, the attribute, the kernel's name."""
    modules = list(model.modules())
    owners: list[ModuleType | nn.Module] = list(modules)
    owners += [sys.modules[name] for name in sorted({type(one).__module__ for one in modules})]
    found = []
    for owner in owners:
        for attribute, value in vars(owner).items():
            name = _kernel_name(value) if isinstance(value, FunctionType) else None
            if name in _REPLACEMENTS:
                assert name is not None
                found.append((owner, attribute, name))
    return found


def _kernel_name(function: FunctionType) -> str | None:
    """Return the name that the decorator was given: a variable that its wrapper closes over."""
    closed = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    name = closed["func_name"].cell_contents if "func_name" in closed else None
    return name if isinstance(name, str) else None
