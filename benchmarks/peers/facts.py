"""The sizes of converted models, from their files."""

import json

from .commands import run
from .convert import INGOT, Conversions, size_of
from .forms import Form
from .models import Model
from .result import KV_ELEMENT_BYTES, Facts


def facts_of(form: Form, model: Model, conversions: Conversions) -> Facts | None:
    """Return the sizes of a form that has been converted.

    A token reads all weights of ours, as the manifest counts them, and the whole file of a peer's,
    whose embedding is the head too.
    """
    path = conversions.folder / form.file
    if not path.exists():
        return None
    size = size_of(path)
    if form.peer != "ingot":
        return Facts(size, size, model.kv_bytes(1, KV_ELEMENT_BYTES[form.peer]))
    memory = json.loads(run([INGOT, "inspect", path, "--json"]))["memory"]
    return Facts(size, int(memory["weights"]), float(memory["kv_cache_per_token"]))
