"""Converting a checkpoint for each runtime, once, and how long each took."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .commands import run
from .environments import Environments
from .forms import Form

OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
ORT_OPTIONS = ("int4_accuracy_level=4", "int4_block_size=32")
PLAIN_GGUF = Form("", "llama.cpp", "bf16", "llama.cpp-bf16.gguf", ("BF16",))
"""What llama.cpp's quantiser reads."""
INGOT = Path(sys.executable).with_name("ingot")


@dataclass(frozen=True)
class Conversions:
    """The converted models of one checkpoint, in `folder`, with a note of the seconds each took."""

    folder: Path
    checkpoint: Path
    environments: Environments
    threads: int

    def path(self, form: Form) -> Path:
        """Return the converted model, which is made if it is not there.

        Raises `AbsentError` where the conversion fails.
        """
        path = self.folder / form.file
        if not path.exists():
            make: dict[str, Callable[[Form, Path], None]] = {
                "ingot": self._ingot,
                "llama.cpp": self._llama,
                "openvino": self._openvino,
                "ort": self._ort,
            }
            if form.peer == "llama.cpp" and form.make != ("BF16",):
                self.path(PLAIN_GGUF)
            part = path.with_name(f"part-{path.name}")
            start = time.perf_counter()
            make[form.peer](form, part)
            self._note(form.file, time.perf_counter() - start)
            part.rename(path)
        return path

    def seconds(self) -> dict[str, float]:
        """Return how long each conversion took, by file; a quantised GGUF with its first step."""
        noted = self._noted()
        first = noted.get(PLAIN_GGUF.file, 0.0)
        return {
            name: value + (first if name.endswith("_0.gguf") else 0.0)
            for name, value in noted.items()
        }

    def forget(self, form: Form) -> None:
        """Remove a converted model, so that it is made anew."""
        path = self.folder / form.file
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)

    def _ingot(self, form: Form, path: Path) -> None:
        command = [INGOT, "compile", self.checkpoint, "--no-measure", "--output", path]
        run([*command, *form.make], self._log)

    def _llama(self, form: Form, path: Path) -> None:
        if form.make == ("BF16",):
            source = self.environments.prepare_source()
            script = [self.environments.python("export"), Path(__file__).with_name("to_gguf.py")]
            options = ["--outtype", "bf16", "--outfile", path]
            run([*script, source, self.checkpoint, *options], self._log, OFFLINE)
            return
        plain = self.path(PLAIN_GGUF)
        quantize = self.environments.llama("native", "llama-quantize")
        run([quantize, "--pure", plain, path, *form.make, str(self.threads)], self._log)

    def _openvino(self, form: Form, path: Path) -> None:
        export = ["-m", "optimum.commands.optimum_cli", "export", "openvino"]
        model = ["--task", "text-generation-with-past", "--model", self.checkpoint]
        python = self.environments.python("export")
        run([python, *export, *model, *form.make, path], self._log, OFFLINE)

    def _ort(self, form: Form, path: Path) -> None:
        builder = ["-m", "onnxruntime_genai.models.builder", "-m", self.checkpoint, "-o", path]
        options = ["-p", "int4", "-e", "cpu", "-c", self.folder / "cache"]
        python = self.environments.python("onnx")
        run([python, *builder, *options, "--extra_options", *ORT_OPTIONS], self._log, OFFLINE)

    @property
    def _log(self) -> Path:
        return self.folder / "conversions.log"

    def _noted(self) -> dict[str, float]:
        path = self.folder / "conversions.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _note(self, file: str, seconds: float) -> None:
        noted = {**self._noted(), file: seconds}
        path = self.folder / "conversions.json"
        path.write_text(json.dumps(noted, indent=1) + "\n")


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(
        os.stat(Path(folder) / name).st_size for folder, _, names in os.walk(path) for name in names
    )
