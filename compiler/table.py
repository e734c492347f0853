"""A compile's report, and what is known of artifacts, as lines for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from .device_facts import format_devices
from .report import LayerKind, Report
from .units import megabytes as megabytes

WIDTH = 17
"""Of the names of the facts."""


def format_report(report: Report) -> str:
    """Return the table that `ingot compile` ends with."""
    lines = [
        f"{report.artifact}: {megabytes(report.bytes)}, {report.parameters:,} parameters",
        "",
        *format_kinds(report.kinds),
        "",
        *format_devices(report.devices, WIDTH),
        *([f"levels           {', '.join(report.levels)}"] if report.levels else []),
        f"compiled in      {report.seconds:.1f} s, {megabytes(report.peak_memory)} at most",
        f"read a token     {megabytes(report.step_bytes)} of weights",
    ]
    if report.speed is not None:
        speed = report.speed
        if speed.decode is not None or speed.prefill is None:
            lines.append(
                f"estimated speed  {speed.estimated:.1f} tokens/s "
                f"({speed.bandwidth / 1e9:.1f} GB/s read bandwidth)"
            )
        measured = "not measured: this machine runs none of the levels"
        if speed.decode is not None and speed.prefill is not None:
            measured = f"{speed.decode:.1f} tokens/s decode, {speed.prefill:.0f} tokens/s prefill"
        elif speed.prefill is not None:
            measured = f"{speed.prefill:.0f} tokens/s of whole texts"
        lines.append(f"measured speed   {measured}")
    return "\n".join(lines)


def format_kinds(kinds: Sequence[LayerKind]) -> list[str]:
    """Return the rows of the table of weights by kind of layer; vectors are one row together."""
    matrices = [kind for kind in kinds if kind.packing != "vector"]
    vectors = [kind for kind in kinds if kind.packing == "vector"]
    rows: list[tuple[str, ...]] = [
        ("weights", "encoding", "count", "parameters", "size", "bits/weight")
    ]
    rows += [_row(kind) for kind in matrices]
    if vectors:
        rows.append(
            _row(
                LayerKind(
                    "norms, biases, frequencies",
                    "f32",
                    "vector",
                    sum(kind.count for kind in vectors),
                    sum(kind.parameters for kind in vectors),
                    sum(kind.bytes for kind in vectors),
                )
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def format_architecture(architecture: Mapping[str, Any]) -> str:
    """Return the model's type and its sizes, those that the manifest knows, as one line."""
    sizes = ("layers", "hidden_size", "heads", "kv_heads", "vocab_size", "max_positions")
    shape = ", ".join(f"{key} {architecture[key]}" for key in sizes if key in architecture)
    return f"{architecture['model_type']}: {shape}"


def format_machine(memory: Mapping[str, Any], kernels: Mapping[str, Any], width: int) -> list[str]:
    """Return lines on memory, plan and kernels, their names `width` wide; none without a plan.

    `memory` and `kernels` are what `plan_facts` says of an artifact.
    """
    if not memory:
        return []
    levels = ", ".join(
        f"{level} {entry['count']} ({megabytes(entry['bytes'])})"
        for level, entry in kernels.items()
    )
    facts = {
        "memory": f"{megabytes(memory['weights'])} weights, "
        f"{memory['kv_cache_per_token']:,} bytes of {memory['kv_cache_dtype']} KV cache a token, "
        f"{memory['activations_per_row']:,} bytes of activations a row",
        "plan": f"{memory['launches_per_step']} launches a step, "
        f"{memory['barriers_per_step']} barriers",
        "kernels": levels,
    }
    return [name.ljust(width) + fact for name, fact in facts.items()]


def _row(kind: LayerKind) -> tuple[str, ...]:
    return (
        kind.name,
        kind.encoding,
        str(kind.count),
        f"{kind.parameters:,}",
        megabytes(kind.bytes),
        f"{kind.bits_per_weight:.2f}",
    )
