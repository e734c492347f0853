"""Reads what a sentence encoder does behind its transformer: the modules of sentence-transformers.

`modules.json` lists them in order; each has a folder with a `config.json` of its own.  The first is
the transformer, with `sentence_bert_config.json` beside it.  Format: sentence-transformers 2 to 5.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from transformers import PretrainedConfig

from ingot.errors import CheckpointError, UnsupportedError

from .formats.json_file import read_json, read_json_value
from .formats.safetensors_file import read_safetensors
from .head import Dense, Head, Pooling, task_of
from .weights import StoredWeight

MODULES = "modules.json"
TRANSFORMER = "sentence_bert_config.json"
SETTINGS = "config_sentence_transformers.json"
MODES: Mapping[str, Pooling] = {
    "cls_token": "cls",
    "cls": "cls",
    "mean_tokens": "mean",
    "mean": "mean",
    "max_tokens": "max",
    "max": "max",
    "lasttoken": "last",
}
ACTIVATIONS = {
    "Identity": "identity",
    "Tanh": "tanh",
    "GELU": "gelu",
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
    "SiLU": "silu",
}


def read_head(folder: Path, config: PretrainedConfig) -> Head:
    """Return what follows the transformer of a checkpoint folder.

    Raises CheckpointError for damaged files, UnsupportedError for a module that is not known.
    """
    modules = read_json_value(folder / MODULES)
    if modules is None:
        return _plain_head(folder, config)
    if not isinstance(modules, list) or not all(isinstance(each, dict) for each in modules):
        raise CheckpointError(
            "is no list of modules", where=str(folder / MODULES), hint="Download the file again."
        )
    head = _texts(folder, Head(task="embed", assumed=True))
    for module in modules[1:]:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in _READERS:
            raise UnsupportedError(
                f"the module {kind or module} is not known",
                where=str(folder / MODULES),
                hint=f"Known modules: Transformer, {', '.join(_READERS)}.",
            )
        head = _READERS[kind](head, folder / str(module.get("path", "")))
    return head


def head_weights(folder: Path, head: Head) -> dict[str, StoredWeight]:
    """Return the stored parameters of a head's own layers, as `NAME.linear.weight`."""
    found: dict[str, StoredWeight] = {}
    for layer in head.dense:
        file = folder / layer.name / "model.safetensors"
        if not file.is_file():
            raise CheckpointError(
                "the weights of this layer are not there as safetensors",
                where=str(file),
                hint="Save the model with a recent sentence-transformers.",
            )
        found |= {f"{layer.name}.{name}": entry for name, entry in read_safetensors(file).items()}
    return found


def head_files(folder: Path, head: Head) -> list[Path]:
    """Return the files beside the usual ones that a head was read from."""
    names = [MODULES, TRANSFORMER, SETTINGS]
    names += [f"{layer.name}/model.safetensors" for layer in head.dense]
    return [folder / name for name in names if (folder / name).is_file()]


def _plain_head(folder: Path, config: PretrainedConfig) -> Head:
    """Return the head that the architecture alone implies."""
    task = task_of(config)
    if task == "generate":
        return Head()
    if task == "embed":
        return _texts(folder, Head(task=task, pooling="mean", assumed=True))
    return _texts(folder, Head(task=task, activation=_score_activation(config)))


def _score_activation(config: PretrainedConfig) -> str:
    """Return what a cross-encoder applies to its scores: a sigmoid to a single one by default."""
    settings = getattr(config, "sentence_transformers", None) or {}
    named = settings.get("activation_fn") or getattr(
        config, "sbert_ce_default_activation_function", None
    )
    if named:
        return _activation(str(named), "config.json")
    return "sigmoid" if config.num_labels == 1 else "identity"


def _texts(folder: Path, head: Head) -> Head:
    """Return `head` with how the checkpoint prepares its texts."""
    transformer, settings = read_json(folder / TRANSFORMER), read_json(folder / SETTINGS)
    limit = transformer.get("max_seq_length")
    prompts = settings.get("prompts") or {}
    return replace(
        head,
        max_tokens=limit if isinstance(limit, int) else None,
        lower_case=bool(transformer.get("do_lower_case")),
        prompts={str(name): str(text) for name, text in prompts.items()},
        default_prompt=settings.get("default_prompt_name"),
        similarity=settings.get("similarity_fn_name") or "cosine",
    )


def _read_pooling(head: Head, folder: Path) -> Head:
    fields, where = read_json(folder / "config.json"), str(folder / "config.json")
    stated = fields.get("pooling_mode")
    named = [stated] if isinstance(stated, str) else list(stated or ())
    prefix = "pooling_mode_"
    named += [key.removeprefix(prefix) for key in fields if key.startswith(prefix) and fields[key]]
    unknown = [name for name in named if name not in MODES]
    if unknown or len(named) != 1:
        raise UnsupportedError(
            f"the pooling {', '.join(unknown or named) or 'of no kind'} is not known",
            where=where,
            hint="Known are cls, mean, max and lasttoken, one of them at a time.",
        )
    include = bool(fields.get("include_prompt", True))
    return replace(head, pooling=MODES[named[0]], assumed=False, include_prompt=include)


def _read_dense(head: Head, folder: Path) -> Head:
    fields, where = read_json(folder / "config.json"), str(folder / "config.json")
    try:
        layer = Dense(
            name=folder.name,
            inputs=int(fields["in_features"]),
            outputs=int(fields["out_features"]),
            bias=bool(fields.get("bias", True)),
            activation=_activation(str(fields.get("activation_function", "Tanh")), where),
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"is no dense layer: {error}", where=where, hint="Download the file again."
        ) from error
    if head.normalize:
        raise UnsupportedError(
            "there is a layer behind the normalisation", where=where, hint="Put it before."
        )
    return replace(head, dense=(*head.dense, layer))


def _activation(name: str, where: str) -> str:
    kind = name.rpartition(".")[2].removesuffix("()")
    if kind not in ACTIVATIONS:
        raise UnsupportedError(
            f"the activation {name} is not known",
            where=where,
            hint=f"Known activations: {', '.join(ACTIVATIONS)}.",
        )
    return ACTIVATIONS[kind]


def _read_normalize(head: Head, folder: Path) -> Head:
    return replace(head, normalize=True)


def _skip(head: Head, folder: Path) -> Head:
    """A dropout does nothing where nothing is trained."""
    return head


_READERS: Mapping[str, Callable[[Head, Path], Head]] = {
    "Pooling": _read_pooling,
    "Dense": _read_dense,
    "Normalize": _read_normalize,
    "Dropout": _skip,
}
