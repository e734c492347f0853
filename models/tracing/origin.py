"""Where an operation of a traced graph comes from: the module of the model and the Python line."""

import importlib
import inspect
import re
from dataclasses import dataclass
from pathlib import PurePath

from torch import fx

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


@dataclass(frozen=True)
class Origin:
    """A module path such as `model.layers.7.mlp.down_proj`, '' for the model, and a source line.

    `file` is relative to the folder of packages: no path of this machine gets into a module.
    """

    module: str
    file: str
    line: int


def origin_of(node: fx.Node, prefix: str) -> Origin:
    """Return where `node` comes from; `prefix` is cut from the front of its module path."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    if not path.startswith(prefix):
        path = ""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    places = [(_package_path(file), int(line)) for file, line in frames]
    # The innermost line of the model itself says more than that of torch's layer, or of code that
    # the exporter generated.
    known = [place for place in places if not place[0].startswith(("torch/", "<"))]
    file, line = known[-1] if known else _class_place(kind)
    return Origin(path.removeprefix(prefix).removeprefix("."), file, line)


def _package_path(file: str) -> str:
    parts = PurePath(file).parts
    for folder in ("site-packages", "dist-packages"):
        if folder in parts:
            return "/".join(parts[parts.index(folder) + 1 :])
    return file if file.startswith("<") or not PurePath(file).is_absolute() else PurePath(file).name


def _class_place(kind: object) -> tuple[str, int]:
    """Return file and line of the class that is named `kind`, such as `a.b.Class`."""
    module_name, _, class_name = str(kind).rpartition(".")
    if not module_name.startswith("transformers."):
        return "", 0
    owner = getattr(importlib.import_module(module_name), class_name, None)
    file = inspect.getsourcefile(owner) if inspect.isclass(owner) else None
    return (_package_path(file), inspect.getsourcelines(owner)[1]) if owner and file else ("", 0)
