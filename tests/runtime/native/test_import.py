"""Serving starts at once: the runtime imports no compiler and little else (in CPU time)."""

import subprocess
import sys

CHECK = """
import time
start = time.process_time()
import ingot.runtime
import ingot.runtime.artifact
import ingot.runtime.native_executor
seconds = time.process_time() - start
import sys
heavy = {"torch", "torch_mlir", "transformers", "gguf"} & {n.split(".")[0] for n in sys.modules}
print(seconds, ",".join(sorted(heavy)))
"""


def test_the_runtime_is_light() -> None:
    runs = [
        subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=True)
        for _ in range(3)  # the best of three
    ]
    results = [run.stdout.rstrip("\n").split(" ") for run in runs]
    assert {heavy for _, heavy in results} == {""}
    assert min(float(seconds) for seconds, _ in results) < 0.5
