"""What an artifact says of itself, and what follows from its plan: memory, launches, kernels."""

from collections.abc import Mapping
from typing import Any

from ingot.runtime.artifact import Artifact
from ingot.runtime.artifact_format import CPU_KERNELS, CPU_PLAN

from .device_facts import device_facts, find_plan


def describe_artifact(artifact: Artifact) -> dict[str, Any]:
    """Return the manifest's facts, and those of memory that follow from the plan."""
    facts = {key: value for key, value in artifact.manifest.items() if key != "files"}
    files = artifact.manifest["files"]
    facts["files"] = {name: entry["bytes"] for name, entry in files.items()}
    if CPU_PLAN in files:
        facts["memory"] = memory_facts(artifact.read_json(CPU_PLAN), facts["files"])
        facts["kernels"] = kernel_facts(facts["targets"]["cpu"], facts["files"])
    found = find_plan(facts.get("targets", {}), files)
    if found is not None:
        family, name = found
        facts["devices"] = device_facts(artifact.read_json(name), family, facts["targets"][family])
    return facts


def memory_facts(plan: Mapping[str, Any], files: Mapping[str, int]) -> dict[str, Any]:
    """Return bytes: of weights, of a token of KV cache, of activations for each row of a step."""
    cache = plan["kv_cache"]
    page = sum(layer["bytes_per_page"] for layer in cache["layers"])
    rows = [buffer["offset_bytes"] + buffer["row_bytes"] for buffer in plan["buffers"]]
    return {
        "weights": files["weights.safetensors"],
        "kv_cache_dtype": cache["dtype"],
        "kv_cache_per_token": page // plan["limits"]["page_tokens"],
        "activations_per_row": max(rows, default=0),
        "launches_per_step": len(plan["launches"]),
        "barriers_per_step": sum(launch["barrier"] for launch in plan["launches"]),
    }


def kernel_facts(target: Mapping[str, Any], files: Mapping[str, int]) -> dict[str, Any]:
    """Return for each level how many kernels it has and the size of its object."""
    return {
        level: {
            "count": len(target["kernels"][level]),
            "bytes": files[CPU_KERNELS.format(level=level)],
        }
        for level in target["levels"]
    }
