"""Shrinks the default configuration of any model type, by what its fields are called.

No list of architectures: a field that the type does not have is left alone, and a list with an
entry for every layer keeps one layer of every kind.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from .result import NotBuilt
from .sizes import BUILT_IN, LAYER_COUNTS, SIZES, VARIANTS, WINDOWS

MOST_LAYERS = 6
ALWAYS = ("rope_parameters", "head_dim")
"""Fields that a variant sets even where the default has nothing there."""


def default_fields(model_type: str) -> dict[str, Any]:
    """Return the fields of the default configuration of a type, which are plain JSON values.

    Raises NotBuilt where transformers refuses its own defaults.
    """
    try:
        fields: dict[str, Any] = AutoConfig.for_model(model_type).to_dict()
    except Exception as error:  # as below
        raise NotBuilt(f"{type(error).__name__}: {error}") from error
    return fields


def small_configs(model_type: str) -> Iterator[PretrainedConfig]:
    """Give small configurations of a type, the likeliest to work first.

    A variant that the configuration's own checks refuse is not given; the caller takes the first of
    which transformers can build a model.  Raises NotBuilt where all are refused.
    """
    defaults = default_fields(model_type)
    failures: list[Exception] = []
    for changes in VARIANTS:
        fields = shrunk(defaults, changes)
        try:
            config = AutoConfig.for_model(model_type, **fields)
        except Exception as error:  # each type has checks of its own, with exceptions of its own
            failures.append(error)
        else:
            yield config
    if len(failures) == len(VARIANTS):
        raise NotBuilt(f"{type(failures[0]).__name__}: {failures[0]}")


def shrunk(defaults: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are to differ from `defaults`, those of inner configurations too."""
    sizes = {**SIZES, **changes}
    fields: dict[str, Any] = {}
    layers = _kept_layers(defaults, sizes)
    for name, value in defaults.items():
        if name == "per_layer_config" and isinstance(value, dict):
            own = {int(layer): shrunk(one, changes) for layer, one in value.items()}
            fields[name] = {str(new): own[old] for new, old in enumerate(layers) if old in own}
        elif isinstance(value, dict) and "model_type" in value:
            inner = shrunk(value, changes)
            others = {k: v for k, v in value.items() if k not in BUILT_IN}
            fields[name] = {**others, **inner}
        elif name in LAYER_COUNTS and isinstance(value, int):
            fields[name] = len(layers)
        elif _is_per_layer(name, value, defaults):
            fields[name] = [value[layer] for layer in layers]
        elif name in sizes and value is not None:
            fields[name] = sizes[name]
        elif name in WINDOWS and isinstance(value, int):
            fields[name] = WINDOWS[name]
    given = {name: changes[name] for name in ALWAYS if name in changes}
    return fields | given | _tokens(defaults)


def _layer_count(defaults: Mapping[str, Any]) -> int:
    counts = [defaults[name] for name in LAYER_COUNTS if isinstance(defaults.get(name), int)]
    return max(counts, default=0)


def _is_per_layer(name: str, value: object, defaults: Mapping[str, Any]) -> bool:
    return isinstance(value, list) and len(value) > 2 and len(value) == _layer_count(defaults)


def _kept_layers(defaults: Mapping[str, Any], sizes: Mapping[str, Any]) -> list[int]:
    """Return the layers to keep: the first of each kind that a per-layer list names."""
    count = _layer_count(defaults)
    lists = [v for name, v in defaults.items() if _is_per_layer(name, v, defaults)]
    seen: set[str] = set()
    kept: list[int] = []
    for layer in range(count):
        kinds = {f"{place}:{one[layer]}" for place, one in enumerate(lists)}
        if kinds - seen and len(kept) < MOST_LAYERS:
            kept.append(layer)
            seen |= kinds
    least = sizes["layers"]
    rest = [layer for layer in range(count) if layer not in kept]
    return sorted([*kept, *rest[: max(0, least - len(kept))]])


def _tokens(defaults: Mapping[str, Any]) -> dict[str, int]:
    """Return special tokens that lie in the small vocabulary."""
    numbers = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    others = {
        name: 3
        for name, value in defaults.items()
        if name.endswith("_token_id") and isinstance(value, int) and name not in numbers
    }
    return {name: n for name, n in numbers.items() if name in defaults} | others
