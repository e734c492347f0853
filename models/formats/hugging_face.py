"""Opens a Hugging Face folder: configuration, safetensors in one or more files, tokenizer."""

from pathlib import Path, PurePosixPath

from ingot.errors import CheckpointError
from ingot.models.architecture import build_architecture, config_from_file
from ingot.models.checkpoint import Checkpoint
from ingot.models.sentence_modules import head_files, head_weights, read_head
from ingot.models.sources import SourceHashes
from ingot.models.tracing.encoder import position_offset, settled
from ingot.models.weights import StoredWeight

from .conversion import convert_stored
from .fitting import fit
from .json_file import read_json
from .mxfp4 import decode_mxfp4
from .safetensors_file import read_safetensors
from .tokenizer_files import OLDER_FORMS, chat_template, read_tokenizer

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "merges.txt",
    *OLDER_FORMS,
)


def open_folder(folder: Path) -> Checkpoint:
    """Open a checkpoint folder; raises CheckpointError or UnsupportedError with file and key."""
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            "there is no config.json in this folder",
            where=str(folder),
            hint="Give the folder of a Hugging Face checkpoint, or a .gguf file.",
        )
    config = config_from_file(folder / "config.json")
    files = _weight_files(folder)
    stored: dict[str, StoredWeight] = {}
    for file in files:
        stored |= read_safetensors(file)
    head = read_head(folder, config)
    model = build_architecture(config, head)
    head = settled(head, model)
    stored = decode_mxfp4(stored, where=str(folder))
    stored = convert_stored(model, stored, where=str(folder))
    fitted = fit(model, stored, where=str(folder), others=head_weights(folder, head))
    tokenizer_config = read_json(folder / "tokenizer_config.json")
    others = ("config.json", INDEX, "generation_config.json", *TOKENIZER_FILES)
    present = [folder / name for name in others if (folder / name).is_file()]
    return Checkpoint(
        name=folder.resolve().name,
        config=config,
        weights=fitted.weights,
        sources=SourceHashes([*present, *files, *head_files(folder, head)]),
        tied=fitted.tied,
        computed=fitted.computed,
        unused=fitted.unused,
        tokenizer_json=read_tokenizer(folder),
        tokenizer_config=tokenizer_config,
        chat_template=chat_template(folder, tokenizer_config),
        generation_config=read_json(folder / "generation_config.json"),
        head=head,
        position_offset=position_offset(model),
    )


def _weight_files(folder: Path) -> list[Path]:
    if (folder / INDEX).is_file():
        return _shards(folder / INDEX)
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if pickles := sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]):
        raise CheckpointError(
            f"the weights are only there as pickle ({pickles[0].name}), which can run code",
            where=str(folder),
            hint="Convert them to safetensors where you trust their origin: load the model with "
            "transformers and call save_pretrained.",
        )
    raise CheckpointError(
        f"there is neither {SINGLE} nor {INDEX} in this folder",
        where=str(folder),
        hint="Download the weights too; a Git LFS checkout needs `git lfs pull`.",
    )


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            "has no weight_map", where=str(index), hint="Download the file again."
        )
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if PurePosixPath(name).name != name:
            raise CheckpointError(
                f"names the file {name!r} outside of the folder",
                where=str(index),
                hint="Do not use this checkpoint unless you trust its origin.",
            )
        if not (index.parent / name).is_file():
            keys = sorted(key for key, value in weight_map.items() if value == name)
            raise CheckpointError(
                f"the shard is missing; it holds {keys[0]!r} and {len(keys) - 1} more tensors",
                where=str(index.parent / name),
                hint="Download the missing file.",
            )
    return [index.parent / name for name in names]
