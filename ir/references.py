"""What the reference semantics of the operations have in common."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ingot.ir.interpreter.values import Batch, Datum

from .mlir import Value
from .quant_tensor import QuantTensor
from .rounding import round_activations
from .types import encoding_of


def tensor_of(datum: Datum, dtype: torch.dtype | None = None) -> Tensor:
    """Return a plain tensor of `dtype`, an encoded one decoded.

    Without `dtype`: as it is; rounded activations in the type of their scales, encoded weights in
    float32.
    """
    assert not isinstance(datum, Batch), "expected a tensor, found the batch"
    if isinstance(datum, QuantTensor):
        natural = datum.scales.dtype if datum.encoding.activation else torch.float32
        return datum.dequantize(dtype or natural)
    return datum if dtype is None else datum.to(dtype)


def with_weights(inputs: Sequence[Datum]) -> list[Tensor]:
    """Return the first input as it is and the others in its element type."""
    first = tensor_of(inputs[0])
    return [first, *(tensor_of(datum, first.dtype) for datum in inputs[1:])]


def batch_of(datum: Datum) -> Batch:
    """Return the batch among an operation's inputs."""
    assert isinstance(datum, Batch), f"expected the batch, found {type(datum).__name__}"
    return datum


def rounded_as(value: Tensor, result: Value) -> Datum:
    """Round `value` where the result's type says so."""
    encoding = encoding_of(result)
    return value if encoding is None else round_activations(value, encoding)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Return x `[T, heads x dim]` as `[T, heads, dim]`."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)


def rms_norm(x: Tensor, w: Tensor, eps: float) -> Tensor:
    """Return the RMS norm over the last dimension times w (Zhang and Sennrich, 2019)."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * w


def layer_norm(x: Tensor, parameters: Sequence[Tensor], eps: float) -> Tensor:
    """Return the layer norm over the last dimension; parameters are w and, if present, b."""
    weight, bias = parameters[0], parameters[1] if len(parameters) > 1 else None
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps)
