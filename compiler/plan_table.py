"""What a dry run found, as text for the terminal."""

from ingot.ir import Cost

from .dry_run import Planned
from .table import format_kinds, megabytes


def format_plan(planned: Planned) -> str:
    """Return the summary that `ingot compile --dry-run` prints."""
    architecture = planned.architecture
    shape = ", ".join(
        f"{key} {architecture[key]}"
        for key in ("layers", "hidden_size", "heads", "kv_heads", "vocab_size", "max_positions")
        if key in architecture
    )
    lines = [
        f"{planned.name}: {megabytes(planned.bytes)} ({planned.bytes:,} bytes), "
        f"{planned.parameters:,} parameters; nothing was written",
        f"architecture     {architecture['model_type']}: {shape}",
        f"pipeline         {planned.pipeline}",
        "",
        *format_kinds(planned.kinds),
        "",
        *_machine_lines(planned),
    ]
    for context, cost in planned.decode.items():
        lines.append(f"decode at {context:<6} {_cost(cost)}")
    lines.append(f"prefill          {_cost(planned.prefill)}")
    lines.append(
        f"planned in       {planned.seconds:.1f} s ({planned.front_seconds:.1f} s to the module), "
        f"{megabytes(planned.peak_memory)} at most"
    )
    return "\n".join(lines)


def _machine_lines(planned: Planned) -> list[str]:
    memory = planned.memory
    if not memory:
        return []
    kernels = ", ".join(
        f"{level} {entry['count']} ({megabytes(entry['bytes'])})"
        for level, entry in planned.kernels.items()
    )
    return [
        f"memory           {megabytes(memory['weights'])} weights, "
        f"{memory['kv_cache_per_token']:,} bytes of {memory['kv_cache_dtype']} KV cache a token, "
        f"{memory['activations_per_row']:,} bytes of activations a row",
        f"plan             {memory['launches_per_step']} launches a step, "
        f"{memory['barriers_per_step']} barriers",
        f"kernels          {kernels}",
    ]


def _cost(cost: Cost) -> str:
    return f"{cost.flops / 1e9:.3f} GFLOP, {megabytes(int(cost.bytes))} moved"
