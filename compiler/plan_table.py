"""What a dry run found, as text for the terminal."""

from ingot.ir import Cost

from .device_facts import format_devices
from .dry_run import Planned
from .table import format_architecture, format_kinds, format_machine, megabytes

WIDTH = 17
"""Of the names of the facts."""


def format_plan(planned: Planned) -> str:
    """Return the summary that `ingot compile --dry-run` prints."""
    lines = [
        f"{planned.name}: {megabytes(planned.bytes)} ({planned.bytes:,} bytes), "
        f"{planned.parameters:,} parameters; nothing was written",
        f"architecture     {format_architecture(planned.architecture)}",
        f"pipeline         {planned.pipeline}",
        "",
        *format_kinds(planned.kinds),
        "",
        *format_machine(planned.memory, planned.kernels, WIDTH),
        *format_devices(planned.devices, WIDTH),
    ]
    for context, cost in planned.decode.items():
        lines.append(f"decode at {context:<6} {_cost(cost)}")
    lines.append(f"prefill          {_cost(planned.prefill)}")
    lines.append(
        f"planned in       {planned.seconds:.1f} s ({planned.front_seconds:.1f} s to the module), "
        f"{megabytes(planned.peak_memory)} at most"
    )
    return "\n".join(lines)


def _cost(cost: Cost) -> str:
    return f"{cost.flops / 1e9:.3f} GFLOP, {megabytes(int(cost.bytes))} moved"
