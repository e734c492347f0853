"""Decoders of every form, built once, and the steps of ragged batches that they run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import pytest
from torch import Tensor

from ingot.ir import Module, QuantTensor
from ingot.passes import Sample, parse_pipeline, random_sample, random_weights

from .models import FORMS, decoder

Sharded = Callable[..., Module]


@cache
def _built(name: str) -> Module:
    return decoder(FORMS[name])


@dataclass(frozen=True)
class Reference:
    """What a decoder computes on one device: two steps of three prompts, the second in chunks."""

    weights: Mapping[str, Tensor | QuantTensor]
    sample: Sample
    logits: Tensor


@cache
def _reference(name: str) -> Reference:
    module = _built(name)
    weights, sample = random_weights(module), random_sample(96, (7, 1, 20), seed=3)
    return Reference(weights, sample, sample.logits(module, weights))


@pytest.fixture
def reference() -> Callable[[str], Reference]:
    """What the decoder of a form computes on one device."""
    return _reference


@pytest.fixture
def unsharded() -> Callable[[str], Module]:
    """The decoder of a form, a fresh copy."""
    return lambda name: _built(name).clone()


@pytest.fixture
def sharded() -> Sharded:
    """The program of a device: of a form, or a module, for a mesh."""

    def get(source: str | Module, mesh: str, before: str = "", after: str = "") -> Module:
        module = (_built(source) if isinstance(source, str) else source).clone()
        options = mesh if "=" in mesh else f"mesh={mesh}"
        passes = (before, f"assign-sharding{{{options}}}", "propagate-sharding", "partition", after)
        parse_pipeline(",".join(filter(None, passes))).run(module)
        return module

    return get
