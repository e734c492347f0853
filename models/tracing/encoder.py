"""Models that give a row for each text, as functions that can be traced."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import transformers
from torch import Tensor, fx, nn
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_layers import GenericForSequenceClassification

from ingot.models.head import Dense, Head, Pooling

from .seams.pool import PooledByTheModel, pool

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
}
SHORTEST = 1e-12
"""Shorter rows are not made longer than one: the bound of torch and sentence-transformers."""
UNUSED = {"add_pooling_layer": False}
"""What is not built of a base model: its pooler, which only classification heads read."""


def automatic_class(head: Head) -> Any:
    """Return the class of transformers that builds the architecture for a head."""
    return AutoModel if head.task == "embed" else AutoModelForSequenceClassification


def build_options(config: PretrainedConfig, head: Head) -> dict[str, object]:
    """Return what the model's class is to be told beside its configuration."""
    if head.task != "embed":
        return {}
    kind = transformers.models.auto.modeling_auto.MODEL_MAPPING[type(config)]
    assert isinstance(kind, type)
    taken = inspect.signature(kind).parameters
    return {name: value for name, value in UNUSED.items() if name in taken}


class Pooled(nn.Module):
    """A model with its head, from tokens, positions and token types to one row a sequence.

    The rows are `[1, S, width]`.  Positions count from 0 in every sequence; models whose table of
    positions begins later get theirs.
    """

    def __init__(self, model: PreTrainedModel, head: Head) -> None:
        super().__init__()
        self.model, self.head = model, head
        self.offset = position_offset(model)
        self.activation = ACTIVATIONS[head.activation]()
        for layer in head.dense:
            self.add_module(layer.name, _DenseLayer(layer))
        self._names = [layer.name for layer in head.dense]
        self._taken = inspect.signature(model.base_model.forward).parameters

    def forward(self, tokens: Tensor, positions: Tensor, token_types: Tensor) -> Tensor:
        """Return the rows."""
        positions = positions + self.offset if self.offset else positions
        options: dict[str, object] = {"use_cache": False, "position_ids": positions}
        if getattr(self.model.config, "type_vocab_size", 0):
            options["token_type_ids"] = token_types
        given = {name: value for name, value in options.items() if name in self._taken}
        if self.head.task == "embed":
            return self._embedding(tokens, given)
        return self._scores(tokens, given)

    def _embedding(self, tokens: Tensor, given: dict[str, object]) -> Tensor:
        hidden = self.model(input_ids=tokens, **given).last_hidden_state
        rows = pool(hidden, self.head.pooling)
        for name in self._names:
            rows = self.get_submodule(name)(rows)
        if self.head.normalize:
            # Without torch's own `normalize`: it expands to the number of tokens.
            lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
            rows = rows / lengths.clamp_min(SHORTEST)
        assert isinstance(rows, Tensor)
        return rows

    def _scores(self, tokens: Tensor, given: dict[str, object]) -> Tensor:
        model = self.model
        if self.head.pooling == "cls":
            with PooledByTheModel(), _given_to(model.base_model, given):
                scores = model(input_ids=tokens).logits
        else:
            hidden = model.base_model(input_ids=tokens, **given).last_hidden_state
            scores = _after_pooling(model)(pool(hidden, self.head.pooling))
        scores = self.activation(scores)
        assert isinstance(scores, Tensor)
        return scores.reshape(1, -1, scores.shape[-1])


@contextmanager
def _given_to(model: nn.Module, options: dict[str, object]) -> Iterator[None]:
    """Hand options to a base model whatever its owner's own signature lets through."""

    def add(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, {**kwargs, **options}

    hook = model.register_forward_pre_hook(add, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


class _DenseLayer(nn.Module):
    def __init__(self, layer: Dense) -> None:
        super().__init__()
        self.linear = nn.Linear(layer.inputs, layer.outputs, layer.bias, device="meta")
        self.activation = ACTIVATIONS[layer.activation]()

    def forward(self, rows: Tensor) -> Tensor:
        result = self.activation(self.linear(rows))
        assert isinstance(result, Tensor)
        return result


def classifier_pooling(model: PreTrainedModel) -> Pooling:
    """Return how a classification head pools where that is not seen in its code, else `cls`."""
    if isinstance(model, GenericForSequenceClassification):
        return "last"
    by_mask = getattr(model.config, "classifier_pooling", None) == "mean"
    return "mean" if by_mask and len(_parts(model)) == 2 else "cls"


def settled(head: Head, model: PreTrainedModel) -> Head:
    """Return a head with what only the architecture itself says of it."""
    return replace(head, pooling=classifier_pooling(model)) if head.task == "classify" else head


def _parts(model: PreTrainedModel) -> list[nn.Module]:
    """Return the layers behind the pooling of a head that computes its mean from a mask."""
    parts = (getattr(model, name, None) for name in ("head", "classifier"))
    return [part for part in parts if isinstance(part, nn.Module)]


def _after_pooling(model: PreTrainedModel) -> nn.Module:
    """Return what a classifier that does not pool by itself does with the pooled row."""
    if isinstance(model, GenericForSequenceClassification):
        assert isinstance(model.score, nn.Module)
        return model.score
    return nn.Sequential(*_parts(model))


def position_offset(model: nn.Module) -> int:
    """Return the row of the table of positions that the first token of a text reads.

    RoBERTa and its heirs keep the rows up to that of the padding token free.
    """
    for name, module in model.named_modules():
        table = name.endswith("position_embeddings") and isinstance(module, nn.Embedding)
        if table and module.padding_idx is not None:
            return int(module.padding_idx) + 1
    return 0


def allow_any_layer(model: nn.Module) -> None:
    """Give layers that do not know their number one; `number_layers` gives the right ones."""
    for module in model.modules():
        if not isinstance(getattr(module, "layer_idx", None), int):
            module.layer_idx = 0  # type: ignore[assignment]


def number_layers(graph: fx.Graph) -> None:
    """Number the attentions of a graph in their order, unless each has a number of its own.

    Some models do not number their layers, and some run a single layer many times.
    """
    target = torch.ops.ingot.attention.default
    index = [argument.name for argument in target._schema.arguments].index("layer")
    nodes = [node for node in graph.nodes if node.target is target]
    numbers = [node.args[index] for node in nodes]
    if len(set(numbers)) == len(numbers) and min(numbers, default=0) >= 0:
        return
    for number, node in enumerate(nodes):
        node.args = (*node.args[:index], number, *node.args[index + 1 :])
