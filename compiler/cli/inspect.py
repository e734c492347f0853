"""Show what is in an artifact."""

import argparse
import json
from typing import Any

from ingot.compiler.device_facts import format_devices
from ingot.compiler.plan_facts import describe_artifact
from ingot.compiler.records import CheckRecord
from ingot.compiler.report import kinds_from_json
from ingot.compiler.table import format_architecture, format_kinds, format_machine, megabytes
from ingot.runtime.artifact import Artifact

HELP = "show what is in an artifact"
WIDTH = 14
"""Of the names of the facts."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ingot inspect`."""
    parser.add_argument("artifact", metavar="ARTIFACT", help="a folder that ingot compile wrote")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check the artifact and print its facts; nothing but the serving install is needed."""
    artifact = Artifact.open(arguments.artifact, again=True)
    facts = describe_artifact(artifact)
    print(json.dumps(facts, indent=2) if arguments.json else format_facts(facts))
    return 0


def format_facts(facts: dict[str, Any]) -> str:
    """Return the facts as text."""
    report = facts["report"]
    lines = [
        f"name          {facts['name']} (ingot {facts['ingot_version']})",
        f"architecture  {format_architecture(facts['architecture'])}",
        f"task          {_task(facts)}",
        f"parameters    {report['parameters']:,}",
        f"encodings     {_encodings(facts['encodings'])}",
        "",
        *format_kinds(kinds_from_json(report)),
        "",
        f"read a token  {megabytes(report['bytes_read_per_token'])} of weights",
    ]
    if "memory" in facts:
        lines += format_machine(facts["memory"], facts["kernels"], WIDTH)
    lines += format_devices(facts.get("devices", {}), WIDTH)
    lines.append(f"pipeline      {facts['pipeline']}")
    if "verification" in facts:
        lines.append(f"verified      {_verified(facts['verification'])}")
    lines += [
        f"source        {name} sha256 {source['sha256']}"
        for name, source in facts["sources"].items()
    ]
    return "\n".join(lines)


def _verified(entries: list[dict[str, Any]]) -> str:
    """Return how many passes kept their contracts when they were interpreted, and the closest."""
    checks = [CheckRecord.from_json(entry) for entry in entries]
    kept = sum(check.passed for check in checks)
    closest = max(checks, key=lambda check: check.error / check.allowed)
    return (
        f"{kept} of {len(checks)} passes kept their contracts; closest {closest.step}, "
        f"{closest.error:g} of {closest.allowed:g} ({closest.metric})"
    )


def _task(facts: dict[str, Any]) -> str:
    """Return what the artifact is for; those of older versions generate."""
    head = facts.get("head")
    if head is None:
        return "generate: chat and completions"
    limit = f"texts of up to {head['max_tokens']} tokens"
    if facts["task"] == "classify":
        labels = len(head["labels"])
        use = "scores and reranking" if labels == 1 else f"{labels} classes"
        return f"classify: {use}, {head['pooling']} pooling, {limit}"
    assumed = ", as the checkpoint states none" if head["pooling_assumed"] else ""
    length = "of length 1" if head["normalized"] else "of any length"
    return f"embed: vectors {length}, {head['pooling']} pooling{assumed}, {limit}"


def _encodings(encodings: dict[str, Any]) -> str:
    if not encodings["stored"]:
        return "the checkpoint stores floats"
    stored = ", ".join(f"{count} x {name}" for name, count in encodings["stored"].items())
    became = "widened to floats"
    if encodings["kept_without_loss"]:
        became = "kept without loss"
    elif any(name.startswith("int") for name in encodings["compiled"]):
        became = "encoded anew"
    return f"the checkpoint stores {stored}: {became}"
