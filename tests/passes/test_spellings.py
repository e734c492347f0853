"""Norms, products and lookups as architectures spell them, before and after they are raised."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ingot.passes import Sample, parse_pipeline, verifying

from .tracing import VOCABULARY, traced

H, D = 3, 4
TOKENS = torch.randint(VOCABULARY, (9,), generator=torch.Generator().manual_seed(6))
SAMPLE = Sample(TOKENS, (0, 4, 9))


class Layer(nn.Module):
    """Parameters of several shapes for `function(self, x, positions)`."""

    def __init__(self, function: Callable[["Layer", Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.randn(H * D))
        self.heads = nn.Parameter(torch.randn(H, D))
        self.head = nn.Parameter(torch.randn(D))
        self.one = nn.Parameter(torch.randn(1))
        self.number = nn.Parameter(torch.randn(()))
        self.table = nn.Parameter(torch.randn(32, H * D))
        self.gate = nn.Linear(H * D, 1)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        return self.function(self, x, positions)


def split(x: Tensor) -> Tensor:
    return x.view(1, -1, H, D)


def joined(x: Tensor) -> Tensor:
    return x.reshape(1, -1, H * D)


def inverse(x: Tensor) -> Tensor:
    return torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def zero_centred(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    return (x * inverse(x) * (1.0 + layer.w)).type_as(x)


def by_power(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    heads = split(x)
    return joined(heads * torch.pow(heads.pow(2).mean(-1, keepdim=True) + 1e-6, -0.5))


def by_division(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    return layer.w * (x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def centred(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).pow(2).mean(-1, keepdim=True)
    return layer.w * ((x - mean) * torch.rsqrt(variance + 1e-5))


def of_heads(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    heads = split(x)
    return joined(layer.heads * (heads * inverse(heads)))


def bare_layer_norm(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    return joined(nn.functional.layer_norm(split(x), (D,), None, None, 1e-5))


def numbers(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    return x * layer.number * layer.one


def one_vector_for_all_heads(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    return joined(split(x) + layer.head)


def gated(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    return torch.sigmoid(layer.gate(x)) * x


def squared(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    return torch.square(torch.relu(x))


def capped(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    return torch.tanh(x / 30.0) * 30.0


def indexed(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    return -(x + layer.table[positions])


def gathered(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    table = layer.table.repeat(1, 1, 1)
    return x + torch.gather(table, 1, positions.unsqueeze(-1).repeat(1, 1, table.shape[-1]))


FORMS: dict[Callable[[Layer, Tensor, Tensor], Tensor], list[str]] = {
    zero_centred: ["add_constant", "rms_norm"],
    by_power: ["fill", "rms_norm"],
    by_division: ["rms_norm"],
    centred: ["layer_norm"],
    of_heads: ["fill", "rms_norm", "reshape", "mul"],
    bare_layer_norm: ["fill", "layer_norm"],
    numbers: ["reshape", "arrange_rows", "mul", "arrange_rows", "mul"],
    one_vector_for_all_heads: ["arrange_rows", "add"],
    gated: ["linear", "activation", "arrange", "mul"],
    squared: ["activation"],
    capped: ["softcap"],
    indexed: ["embedding", "add", "scale"],
    gathered: ["embedding", "add"],
}


@pytest.mark.parametrize("function", FORMS, ids=lambda function: function.__name__)
def test_forms_are_raised(function: Callable[[Layer, Tensor, Tensor], Tensor]) -> None:
    module, weights = traced(Layer(function), H * D)
    parse_pipeline("raise,canonicalize").run(module, verifying(weights, SAMPLE))
    text = str(module.step)
    assert "torch" not in text
    names = [name for name in re.findall(r'"lm\.(\w+)"', text) if name != "weight"]
    names.remove("embedding")
    assert sorted(names) == sorted(FORMS[function])
