"""All that is known of a compile as one document of plain values: the JSON twin of the page."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ingot.errors import IngotError, UsageError
from ingot.ir import Cost, Graph, layer_graph, layers_of
from ingot.runtime.artifact import Artifact
from ingot.targets import Build

from .costs import operation_costs
from .inspection import Inspector
from .page import html_page
from .plan_facts import describe_artifact
from .records import Measures
from .report import Report

JSON = ".json"
CONTEXT = 512
PREFILL = 512


def details_of(build: Build, inspector: Inspector) -> dict[str, Any]:
    """Return the work of each operation, and one layer before and after the passes.

    FLOPs and bytes are by the operations' own costs, for decoding one token after `CONTEXT` cached
    ones and for a prefill of `PREFILL` tokens.
    """
    return {
        "operations": {
            "context": CONTEXT,
            "prefill_tokens": PREFILL,
            "decode": _costs(operation_costs(build.module, 1, CONTEXT)),
            "prefill": _costs(operation_costs(build.module, PREFILL)),
        },
        "layer": _layer(build, inspector.layer),
    }


def write_reports(report: Report, files: Sequence[str]) -> None:
    """Write a report to each of `files`: a page, or its twin where the name ends in `.json`."""
    document = report_document(report)
    for file in files:
        text = json.dumps(document, indent=1) + "\n"
        if not file.endswith(JSON):
            text = html_page(document)
        try:
            Path(file).write_text(text, encoding="utf-8")
        except OSError as error:
            raise IngotError(
                f"cannot be written: {error.strerror}", where=file, hint="Name another file."
            ) from None


def check_files(files: Sequence[str]) -> None:
    """Raise `UsageError` for names of reports that end neither in `.html` nor in `.json`."""
    for file in files:
        if not file.endswith((".html", JSON)):
            raise UsageError(
                "is neither a page nor JSON by its name",
                where=f"--report {file}",
                hint="Give a name that ends in .html or .json.",
            )


def report_document(report: Report) -> dict[str, Any]:
    """Return all that is known of a compile, the facts of its artifact included."""
    facts = describe_artifact(Artifact.open(report.artifact, verify=False))
    return {
        "name": facts["name"],
        "ingot_version": facts["ingot_version"],
        "architecture": facts["architecture"],
        "pipeline": report.pipeline,
        "seconds": report.seconds,
        "peak_memory": report.peak_memory,
        "bytes": report.bytes,
        "parameters": report.parameters,
        "speed": None if report.speed is None else asdict(report.speed),
        "stages": [asdict(stage) for stage in report.stages],
        "passes": [
            {
                "pass": record.text,
                "contract": record.contract,
                "seconds": record.seconds,
                "before": _measures(record.before),
                "after": _measures(record.after),
            }
            for record in report.passes
        ],
        "verification": [check.to_json() | {"passed": check.passed} for check in report.checks],
        "encodings": facts["encodings"],
        "kinds": [asdict(kind) for kind in report.kinds],
        "memory": facts.get("memory", {}),
        "kernels": facts.get("kernels", {}),
        "devices": facts.get("devices", {}),
        "files": facts["files"],
        **report.details,
    }


def _measures(measures: Measures) -> dict[str, Any]:
    return {**asdict(measures), "total": measures.total}


def _costs(costs: dict[str, Cost]) -> dict[str, dict[str, float]]:
    return {name: asdict(cost) for name, cost in costs.items()}


def _layer(build: Build, before: Graph | None) -> dict[str, Any] | None:
    """Return one layer as it was when raised, and as it is in the end; None for no layers."""
    if before is None or before.layer not in layers_of(build.module):
        return None
    after = layer_graph(build.module, before.layer)
    return {"name": before.layer, "before": asdict(before), "after": asdict(after)}
