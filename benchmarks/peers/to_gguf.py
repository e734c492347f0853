"""Run llama.cpp's converter on a checkpoint whose tokenizer it does not know.

    python to_gguf.py SOURCE CHECKPOINT OPTIONS…

Its table of tokenizers is by hash and has none of a random checkpoint's.
"""

import importlib
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Replace the look-up and run the converter as a script."""
    source = Path(sys.argv[1])
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    model = importlib.import_module("conversion.base").TextModel
    model.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
    sys.argv = [str(source / "convert_hf_to_gguf.py"), *sys.argv[2:]]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
