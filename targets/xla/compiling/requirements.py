"""The packages that compiling for a platform needs, and where a platform's plugin lies."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ingot.errors import UnsupportedError
from ingot.targets.xla.platform import PlatformName

JAXLIB, LIBTPU, CUDA = "0.10.2", "0.0.42.", "0.10.2"
"""jaxlib's interface is private and changes, and each release reads the programs of one libtpu."""

_EXTRAS = {"cpu": "xla", "tpu": "tpu", "cuda": "xla-cuda"}
_NAMES = {"cpu": "XLA", "tpu": "TPUs", "cuda": "NVIDIA GPUs through XLA"}
_PLUGINS = {
    "tpu": ("libtpu", LIBTPU, "libtpu", "libtpu.so"),
    "cuda": ("jax-cuda12-pjrt", CUDA, "jax_plugins", "xla_cuda12/xla_cuda_plugin.so"),
}


def require(platform: PlatformName) -> Path | None:
    """Return the plugin that compiles for `platform`; None for the CPU, which needs none.

    Raises `UnsupportedError` with the command that installs what is absent or of another version.
    """
    _check(platform, "jaxlib", JAXLIB)
    if platform not in _PLUGINS:
        return None
    package, wanted, folder, file = _PLUGINS[platform]
    _check(platform, package, wanted)
    spec = find_spec(folder)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / file).exists():
            return Path(place) / file
    raise _absent(platform, f"{package} is installed, but its {file} is not there")


def _check(platform: PlatformName, package: str, wanted: str) -> None:
    """Raise unless the version of `package` is `wanted`; one that ends in a dot is a beginning."""
    try:
        found = version(package)
    except PackageNotFoundError:
        raise _absent(platform, f"{package} is not installed") from None
    if found != wanted and not (wanted.endswith(".") and found.startswith(wanted)):
        stated = f"{wanted}*" if wanted.endswith(".") else wanted
        raise _absent(platform, f"{package} {found} is installed, {stated} is needed")


def _absent(platform: PlatformName, problem: str) -> UnsupportedError:
    return UnsupportedError(
        f"{problem}, so nothing can be compiled for {_NAMES[platform]}",
        hint=f'Run pip install "ingot[{_EXTRAS[platform]}]".',
    )
