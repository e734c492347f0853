"""Compiled programs of XLA, kept on this machine by what they were made from.

The compiler and the runtime share this folder.  An entry is found by the SHA-256 of the program,
of the build that compiled it, and of the devices; what it holds is never out of date.
"""

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ingot.knobs import CACHE_DIR

_PLUGINS = {"cpu": (), "tpu": ("libtpu",), "cuda": ("jax-cuda12-pjrt",)}
COMPILER_OPTIONS: Mapping[str, Mapping[str, bool]] = {
    # Else libtpu divides what follows a sum among the replicas, and puts it together again by
    # further sums: our programs say themselves what devices do alone and what together.
    "tpu": {"xla_jf_auto_cross_replica_sharding": False},
}
"""What the compiler of a platform is told beside the program."""
_EXECUTABLE, _FACTS = "executable.bin", "facts.json"


@dataclass(frozen=True)
class Entry:
    """A kept executable: its bytes, and what is known of it as plain values of JSON."""

    executable: bytes
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class ExecutableCache:
    """Executables in `folder`, one folder each; what cannot be read or written is a miss."""

    folder: Path

    def get(self, key: str) -> Entry | None:
        """Return what is kept for `key`, or None."""
        try:
            executable = (self.folder / key / _EXECUTABLE).read_bytes()
            facts = json.loads((self.folder / key / _FACTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return Entry(executable, facts)

    def put(self, key: str, entry: Entry) -> None:
        """Keep `entry`, whole or not at all; a disk that refuses costs only the next compile."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".new-") as temporary:
                new = Path(temporary) / key
                new.mkdir()
                (new / _EXECUTABLE).write_bytes(entry.executable)
                (new / _FACTS).write_text(json.dumps(entry.facts), encoding="utf-8")
                shutil.rmtree(self.folder / key, ignore_errors=True)  # damaged, or without facts
                os.replace(new, self.folder / key)
        except OSError:
            return


def default_cache() -> ExecutableCache:
    """Return the cache in the folder of the knob INGOT_CACHE_DIR."""
    return ExecutableCache(CACHE_DIR.get().expanduser() / "xla")


def executable_key(
    program: bytes, build: str, topology: str, devices: int, options: Mapping[str, object] = {}
) -> str:
    """Return the name of the executable of `program` (StableHLO, text or bytecode).

    `build` is that of `platform_build`, `topology` the plan's; `devices` is how many replicas run
    it.  `options` are those given to the compiler.
    """
    stated = json.dumps([build, topology, devices, dict(options)], sort_keys=True)
    return hashlib.sha256(stated.encode() + b"\0" + program).hexdigest()


def platform_build(platform_name: str) -> str:
    """Return what an executable for "cpu", "tpu" or "cuda" depends on besides its program.

    These are the versions of jaxlib and of the plugin, what the compiler is told, and for the CPU,
    whose code is made for the machine at hand, the features of this one.  A package that is not
    installed counts as "none".  Nothing is loaded, so asking costs no time.
    """
    packages = ("jaxlib", *_PLUGINS[platform_name])
    versions = [f"{name} {_version(name)}" for name in packages]
    told = COMPILER_OPTIONS.get(platform_name, {}).items()
    build = " ".join([*versions, *(f"{name}={str(on).lower()}" for name, on in told)])
    return f"{build} {_machine()}" if platform_name == "cpu" else build


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _machine() -> str:
    """Return the kind of this CPU, and a digest of its features where the system lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:12]}"
