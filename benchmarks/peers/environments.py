"""The runtimes' environments: made in one folder, each only once.

`native/bin` and `avx2/bin` hold llama.cpp, built from the source that `llama-cpp-python` carries;
`ov`, `ort`, `export` and `onnx` are virtual environments: two that run, two that convert.
"""

import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from .commands import run

LLAMA = "0.3.36"
LLAMA_PROGRAMS = ("llama-batched-bench", "llama-completion", "llama-quantize")
LLAMA_SETTINGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
)
LLAMA_BUILDS = {
    "native": ("-DGGML_NATIVE=ON",),
    "avx2": (
        "-DGGML_NATIVE=OFF",
        *(f"-DGGML_{feature}=ON" for feature in ("AVX2", "FMA", "F16C", "BMI2")),
    ),
}
TORCH = "torch==2.13.0"
PACKAGES = {
    "tools": (("cmake", "ninja"),),
    "ov": (("openvino==2026.4.1", "openvino-genai==2026.4.1.0"),),
    "ort": (("onnxruntime-genai==0.18.0",),),
    "export": (
        (TORCH,),
        ("optimum-intel[openvino,nncf]==2.2.0", "nncf==3.4.0", "sentencepiece", TORCH),
    ),
    "onnx": (
        (TORCH,),
        ("onnxruntime-genai==0.18.0", "transformers==5.23.0", "onnx==1.23.0", "onnx-ir", TORCH),
    ),
    "plots": (("matplotlib>=3.10",),),
}
UNWANTED = {"export": ("torchvision",)}
"""Packages that come along and break an import."""
INCOMPLETE = ".incomplete"
"""Stands in an environment while it is being made."""


@dataclass(frozen=True)
class Environments:
    """The folder in which the runtimes are installed."""

    folder: Path

    @property
    def llama_source(self) -> Path:
        """The source tree of llama.cpp."""
        return self.folder / f"llama_cpp_python-{LLAMA}" / "vendor" / "llama.cpp"

    def python(self, name: str) -> Path:
        """Return the interpreter of a virtual environment, which is made if it is not there.

        Raises `AbsentError`, as the other methods do.
        """
        python = self.folder / name / "bin" / "python"
        if not python.exists() or (self.folder / name / INCOMPLETE).exists():
            self._install(name)
        return python

    def llama(self, build: str, program: str) -> Path:
        """Return a program of llama.cpp, built `native` for this machine or for `avx2`."""
        path = self.folder / build / "bin" / program
        if not path.exists():
            self._build(build)
        return path

    def prepare_source(self) -> Path:
        """Fetch the source of llama.cpp once; return its folder."""
        if not self.llama_source.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            wanted = f"llama-cpp-python=={LLAMA}"
            download = ["download", "--no-deps", "--no-binary", "llama-cpp-python", wanted]
            run([sys.executable, "-m", "pip", *download, "-d", self.folder], self._log)
            with tarfile.open(self.folder / f"llama_cpp_python-{LLAMA}.tar.gz") as archive:
                archive.extractall(self.folder, filter="data")
        return self.llama_source

    @property
    def _log(self) -> Path:
        return self.folder / "environments.log"

    def _install(self, name: str) -> None:
        made = self.folder / name
        made.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "venv", "--clear", made], self._log)
        (made / INCOMPLETE).touch()
        pip = [made / "bin" / "python", "-m", "pip"]
        for packages in PACKAGES[name]:
            run([*pip, "install", "--quiet", *packages], self._log)
        for package in UNWANTED.get(name, ()):
            run([*pip, "uninstall", "--quiet", "--yes", package], self._log)
        (made / INCOMPLETE).unlink()

    def _build(self, build: str) -> None:
        source, tools = self.prepare_source(), self.python("tools").parent
        path = {"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin"}
        configure = ["cmake", "-S", source, "-B", self.folder / build, "-G", "Ninja"]
        run([*configure, *LLAMA_SETTINGS, *LLAMA_BUILDS[build]], self._log, path)
        programs = LLAMA_PROGRAMS if build == "native" else LLAMA_PROGRAMS[:1]
        run(["ninja", "-C", self.folder / build, *programs], self._log, path)
