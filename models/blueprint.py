"""Opens an architecture from its configuration alone: what is known before any weight is there."""

from functools import partial
from pathlib import Path

import torch

from ingot.errors import CheckpointError

from .architecture import build_architecture, config_from_file
from .checkpoint import Checkpoint
from .formats.fitting import fit
from .sentence_modules import head_weights, read_head
from .tracing.encoder import position_offset, settled
from .weights import StoredWeight, Value, WeightInfo

FLOATS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def open_blueprint(path: str | Path) -> Checkpoint:
    """Return the checkpoint that a `config.json`, or a folder with one, describes.

    Weights have the shapes and the type that the configuration says; reading the value of a
    parameter raises CheckpointError.  Raises CheckpointError or UnsupportedError as
    `open_checkpoint` does.
    """
    file = Path(path)
    file = file / "config.json" if file.is_dir() else file
    config = config_from_file(file)
    said = config.dtype or getattr(config, "torch_dtype", None)
    head = read_head(file.parent, config)
    model = build_architecture(config, head)  # which makes the configuration say float32
    head = settled(head, model)
    dtype = FLOATS.get(str(said).removeprefix("torch."), torch.float32)
    entries = {
        name: StoredWeight(WeightInfo(tuple(parameter.shape), dtype), partial(_absent, name))
        for name, parameter in model.named_parameters()
    }
    fitted = fit(model, entries, where=str(file), others=head_weights(file.parent, head))
    return Checkpoint(
        name=file.resolve().parent.name,
        config=config,
        weights=fitted.weights,
        sources={},
        tied=fitted.tied,
        computed=fitted.computed,
        head=head,
        position_offset=position_offset(model),
    )


def _absent(name: str) -> Value:
    raise CheckpointError(
        f"the value of {name!r} is not there: the configuration was opened alone",
        hint="Open the folder with its weights.",
    )
