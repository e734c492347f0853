"""A plan as text for the terminal."""

from dataclasses import fields

from ingot.compiler.table import megabytes

from .candidates import Candidate
from .plan import Plan
from .question import label
from .roofline import Spent

HEADINGS = ("", "mesh", "weights", "KV", "memory", "fits", "TTFT", "tokens/s", "each", "decode by")
LEFT = (1, 2, 3, 5, 9)
"""Columns of words."""


def format_ranking(plan: Plan) -> str:
    """Return the table that `ingot plan` prints: the best, and the best of each encoding."""
    hardware, asked = plan.hardware, plan.request
    peaks = ", ".join(f"{rate / 1e12:.3g} T{kind}" for kind, rate in hardware.flops.items())
    lines = [
        f"{plan.name} on {plan.target}: {plan.devices} x {hardware.name}, each "
        f"{megabytes(hardware.memory_bytes)}, {hardware.memory_bandwidth / 1e9:.4g} GB/s, "
        f"operations/s: {peaks}",
        f"{asked.batch} sequences of {asked.context} tokens; TTFT is that of a prompt of "
        f"{asked.prompt}",
        f"{len(plan.candidates)} configurations, {len(plan.obstacles)} meshes left out",
        "",
        *_rows(plan),
        "",
        *_verdict(plan),
    ]
    return "\n".join(lines)


def _rows(plan: Plan) -> list[str]:
    rows = [HEADINGS, *(_row(plan, number, one) for number, one in plan.shown())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return [
        "  ".join(
            cell.ljust(width) if column in LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _row(plan: Plan, number: int, one: Candidate) -> tuple[str, ...]:
    kind = one.configuration
    misses = one.misses(plan.request)
    late, slow = ("*" if name in misses else "" for name in ("TTFT", "tokens/s"))
    return (
        str(number),
        str(one.mesh) if one.mesh.devices > 1 else "-",
        kind.encoding,
        kind.kv_dtype,
        megabytes(int(one.bytes)),
        _verdict_of(one),
        f"{one.first.total * 1e3:.1f} ms{late}",
        f"{one.tokens_per_s:.0f}{slow}",
        f"{one.tokens_per_s_each:.1f}",
        drivers(one.decode),
    )


def _verdict_of(one: Candidate) -> str:
    if one.refusal:
        return "refused"
    if one.excess:
        return f"{megabytes(int(one.excess))} too much"
    return "compiled" if one.source == "compiler" else "yes"


def drivers(spent: Spent) -> str:
    """Return what the time goes into, most first, without what takes less than one percent."""
    shares = {one.name: getattr(spent, one.name) / spent.total for one in fields(spent)}
    ordered = sorted(shares.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{name} {100 * share:.0f}%" for name, share in ordered if share >= 0.01)


def _verdict(plan: Plan) -> list[str]:
    best = plan.candidates[0]
    lines = []
    missed = best.misses(plan.request)
    if missed:
        lines.append(f"* nothing that fits meets what was asked of {' and '.join(missed)}")
    elif any(one.misses(plan.request) for _, one in plan.shown()):
        lines.append("* misses what was asked")
    for reason, refused in _refusals(plan).items():
        lines.append(f"refused: {', '.join(refused)}: {reason}")
    lines.append(f"best: ingot compile {plan.model} --target {plan.target} {options(plan)}")
    return lines


def _refusals(plan: Plan) -> dict[str, list[str]]:
    """Return the configurations that a pass or the compiler refused, by the reason."""
    found: dict[str, list[str]] = {}
    for one in plan.candidates:
        if one.refusal:
            found.setdefault(one.refusal, []).append(label(one.configuration))
    return found


def options(plan: Plan) -> str:
    """Return the options of `ingot compile` for the best configuration."""
    best = plan.candidates[0]
    words = [best.configuration.command()]
    if plan.static:
        # With these the pages of the KV cache are those that were planned for.
        sequences = best.load.sequences(best.mesh)
        words.append(f"--context {plan.request.context} --decode-batches {sequences}")
    return " ".join(words)
