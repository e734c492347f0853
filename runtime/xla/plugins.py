"""What running on each platform needs to be installed, and whether the host has such a device."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ingot.errors import UsageError

JAXLIB = "0.10.2"


@dataclass(frozen=True)
class Plugin:
    """A distribution that brings a platform: `library` lies in the folder of `module`."""

    package: str
    version: str
    module: str
    library: str
    extra: str
    """The extra of Ingot that installs it."""

    @property
    def path(self) -> Path:
        """Where the library lies; the package is not run."""
        spec = find_spec(self.module)
        assert spec is not None and spec.origin is not None
        return Path(spec.origin).parent / self.library


PLUGINS = {
    "tpu": Plugin("libtpu", "0.0.42.1", "libtpu", "libtpu.so", "tpu"),
    "cuda": Plugin(
        "jax-cuda12-pjrt", "0.10.2", "jax_plugins.xla_cuda12", "xla_cuda_plugin.so", "xla-cuda"
    ),
}


def check_installed(platform: str) -> None:
    """Raise UsageError where a package is missing or is not the one that Ingot was made with."""
    plugin = PLUGINS.get(platform)
    _check_version("jaxlib", JAXLIB, plugin.extra if plugin else "xla")
    if plugin:
        _check_version(plugin.package, plugin.version, plugin.extra)
    if platform == "tpu" and not _has_tpu():
        raise no_device(platform, "there is no /dev/accel or /dev/vfio device")


def no_device(platform: str, reason: str) -> UsageError:
    """Return the error of a host without such a device."""
    return UsageError(
        f"this host has no {platform} device that can be used: {reason}",
        hint="Run the artifact on a host that has one, or compile with --target xla:cpu.",
    )


def _check_version(package: str, wanted: str, extra: str) -> None:
    hint = f'Run pip install "ingot[{extra}]".'
    try:
        found = version(package)
    except PackageNotFoundError as error:
        raise UsageError(f"running this artifact needs {package}", hint=hint) from error
    if found != wanted:
        raise UsageError(
            f"{package} {found} is installed, and this version of Ingot runs on {wanted}", hint=hint
        )


def _has_tpu() -> bool:
    vfio = [path for path in Path("/dev/vfio").glob("*") if path.name.isdecimal()]
    return bool(vfio) or any(Path("/dev").glob("accel*"))
