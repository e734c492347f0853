"""The straight line beside the limits of this machine: compile, load, prefill and decode.

A random checkpoint of Qwen2.5-0.5B's configuration is compiled to int4-g32; decode is compared
with the read bandwidth, prefill with the peak of int8 dot products, both measured between the
rounds of the same run.  The start of a process is measured on the built-in SmolLM2.  Figures are
medians.

    python benchmarks/straight_line.py [--quick] [--json FILE] [--folder DIR]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from limits import LIMIT_KERNELS, Team, aligned, best_level, load, measure_limits
from transformers import AutoConfig

from ingot import LLM, SamplingParams
from ingot.models import small_tokenizer, write_random_checkpoint

INGOT = Path(sys.executable).with_name("ingot")
PREFILL = 512
SEQUENCES = 8
POOL_BYTES = 320_000_000


@dataclass(frozen=True)
class Round:
    """One round: the limits around it (GB/s, GOP/s) and the model's rates (tokens/s)."""

    read: float
    dot: float
    decode: float
    decode_many: float
    prefill: float


def write_checkpoint(folder: Path) -> Path:
    """Write the checkpoint once; about 1 GB of bfloat16."""
    path = folder / "qwen2.5-0.5b-random"
    if not (path / "config.json").exists():
        config = AutoConfig.for_model(
            "qwen2",
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            vocab_size=151936,
            tie_word_embeddings=True,
            max_position_embeddings=32768,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            bos_token_id=151643,
            eos_token_id=151645,
        )
        tokenizer = small_tokenizer(1000, "one two three four five six seven eight nine ten " * 20)
        write_random_checkpoint(path, config, dtype=torch.bfloat16, tokenizer=tokenizer)
    return path


def compile_model(model: str | Path, output: Path, *options: str) -> dict[str, float]:
    """Compile in a process of its own; returns seconds, peak memory and size in MB."""
    start = time.perf_counter()
    command = [INGOT, "compile", model, "--levels", "native", "--no-measure", "-o", output]
    subprocess.run([*command, *options], check=True, capture_output=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    return {"seconds": seconds, "peak MB": peak / 1e6, "artifact MB": size / 1e6}


def random_prompt(generator: np.random.Generator, tokens: int) -> list[int]:
    """Return a prompt that no cached prefix serves."""
    return [int(token) for token in generator.integers(0, 150_000, tokens)]


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that `call` takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def decode_rate(model: LLM, prompts: list[list[int]], tokens: int) -> float:
    """Return tokens a second of all sequences together, prefill taken away."""

    def run(count: int) -> float:
        params = SamplingParams(max_tokens=count, temperature=0, ignore_eos=True)
        return timed(lambda: model.generate(prompts, params))

    run(1)  # the prompts are cached prefixes from here on
    first = run(1)
    return len(prompts) * tokens / (run(1 + tokens) - first)


def one_round(
    model: LLM,
    limits: Callable[[], tuple[float, float]],
    generator: np.random.Generator,
    tokens: int,
) -> Round:
    """Measure everything once, the limits before and after."""
    before = limits()
    decode = decode_rate(model, [random_prompt(generator, 17)], tokens)
    many = decode_rate(model, [random_prompt(generator, 17) for _ in range(SEQUENCES)], tokens)
    prompt = random_prompt(generator, PREFILL)
    params = SamplingParams(max_tokens=1, temperature=0, ignore_eos=True)
    prefill = PREFILL / timed(lambda: model.generate([prompt], params))
    after = limits()
    read, dot = (max(pair) for pair in zip(before, after, strict=True))
    return Round(read, dot, decode, many, prefill)


def limit_probe() -> Callable[[], tuple[float, float]]:
    """Return a function that measures read bandwidth (GB/s) and int8 peak (GOP/s), all threads."""
    code = load(LIMIT_KERNELS, best_level())
    team, pool = Team(2, "wall"), aligned(POOL_BYTES)
    pool[:] = 1

    def measure() -> tuple[float, float]:
        found = [measure_limits(code, team, pool) for _ in range(3)]
        return max(limit.read for limit in found), max(limit.dot for limit in found)

    return measure


def first_token_seconds(artifact: Path, rounds: int) -> float:
    """Return seconds from the start of a process to the end of a one-token answer."""
    prompt = "The first sixteen tokens of a prompt are all that this run has to read now"
    command = [INGOT, "run", artifact, "--raw", "--max-tokens", "1", prompt]
    times = [
        timed(lambda: subprocess.run(command, check=True, capture_output=True))
        for _ in range(rounds)
    ]
    return statistics.median(times)


def load_seconds(artifact: Path, rounds: int) -> float:
    """Return seconds to open an artifact and be ready for requests."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        model = LLM(artifact)
        times.append(time.perf_counter() - start)
        model.close()
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round, as a smoke run")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    count, tokens = (1, 16) if options.quick else (7, 64)

    artifact, small = options.folder / "qwen.ingot", options.folder / "smollm2.ingot"
    compiled = compile_model(write_checkpoint(options.folder), artifact)
    compile_model("builtin", small)
    start = load_seconds(artifact, 1 if options.quick else 5)
    first = first_token_seconds(small, 1 if options.quick else 7)

    facts = json.loads(
        subprocess.run(
            [INGOT, "inspect", artifact, "--json"], capture_output=True, check=True
        ).stdout
    )
    weight_bytes = facts["memory"]["weights"]
    linear = 24 * (896 * (896 + 2 * 128) + 896 * 896 + 3 * 896 * 4864)
    generator, limits = np.random.default_rng(0), limit_probe()
    with LLM(artifact) as model:
        one_round(model, limits, generator, 8)
        rounds = [one_round(model, limits, generator, tokens) for _ in range(count)]

    def median(figure: Callable[[Round], float]) -> float:
        return statistics.median(figure(each) for each in rounds)

    figures = {
        **{f"compile {name}": value for name, value in compiled.items()},
        "load s": start,
        "first token of SmolLM2 s": first,
        "read GB/s": median(lambda r: r.read),
        "int8 peak GOP/s": median(lambda r: r.dot),
        "decode tokens/s": median(lambda r: r.decode),
        "decode % of read": median(lambda r: 100e-9 * weight_bytes * r.decode / r.read),
        f"decode of {SEQUENCES} tokens/s": median(lambda r: r.decode_many),
        f"decode of {SEQUENCES} / of 1": median(lambda r: r.decode_many / r.decode),
        f"prefill {PREFILL} tokens/s": median(lambda r: r.prefill),
        f"prefill {PREFILL} % of peak": median(lambda r: 200e-9 * linear * r.prefill / r.dot),
    }
    for name, value in figures.items():
        print(f"{name:28} {value:10.2f}")
    if options.json:
        document = {"figures": figures, "rounds": [asdict(each) for each in rounds]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
