"""What each runtime's forms of one real model cost in perplexity, all measured on the same text.

    python benchmarks/cpu_quality.py [--forms NAMES] [--threads N]

SmolLM2-135M-Instruct, dequantised to float32, is converted for every runtime and scored by it.  The
runtimes' environments are those of `cpu_peers.py`.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from peers.convert import Conversions
from peers.environments import Environments
from peers.errors import AbsentError
from peers.forms import Form
from peers.quality import Quality, Scorer, quality_forms, quality_table
from peers.quality_checkpoint import write_checkpoint


def main() -> None:
    """Convert, score and print; a form that its runtime cannot score is named with the reason."""
    options = parse()
    folder = options.folder / "quality"
    environments = Environments(options.environments.resolve())
    checkpoint = write_checkpoint(folder)
    conversions = Conversions(folder.resolve(), checkpoint.resolve(), environments, options.threads)
    scorer = Scorer(conversions, environments, options.threads)
    found: list[Quality] = []
    absent: list[tuple[Form, AbsentError]] = []
    for form in quality_forms():
        if options.forms and not form.name.startswith(tuple(options.forms.split(","))):
            continue
        print(form.name, file=sys.stderr, flush=True)
        try:
            found.append(scorer.measure(form))
        except AbsentError as error:
            absent.append((form, error))
    print(quality_table(found, absent))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--forms", default="", help="only forms whose names begin so: ingot,ort")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    add("--folder", type=Path, default=Path("build/bench"), help="for the converted models")
    add("--environments", type=Path, default=Path("build/peers"), help="for the runtimes")
    add("--json", type=Path, help="write the result there too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
