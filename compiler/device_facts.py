"""What the plan of a target with devices and steps of fixed sizes says, as facts and as lines."""

import json
from collections.abc import Mapping
from math import prod
from typing import Any

from .units import megabytes

PLAN = "targets/{family}/plan.json"


def find_plan(targets: Mapping[str, Any], files: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the family whose plan has devices, and the plan's file; None where there is none."""
    for family, entry in targets.items():
        name = PLAN.format(family=family)
        if "steps" in entry and name in files:
            return family, name
    return None


def device_facts(plan: Mapping[str, Any], family: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a device of each stage holds, and which steps there are.

    `entry` is what the manifest says of the target.  Bytes are those of one device: of weights, and
    of a page of KV cache, of which there are `pages`.
    """
    weights, cache = _weights(plan), _cache(plan)
    mesh = _mesh(entry["mesh"])
    groups = mesh.get("dp", 1) * mesh.get("ep", 1)
    variant = entry.get("variant", "")
    return {
        "target": f"{family}:{variant}" if variant else family,
        "topology": entry.get("topology", ""),
        "compiler": entry.get("compiler", ""),
        "mesh": entry["mesh"],
        "count": prod(mesh.values()),
        "context": plan["limits"]["context"],
        "page_tokens": plan["limits"]["page_tokens"],
        "pages": plan["limits"]["num_pages"] // groups,
        "kv_cache_dtype": plan["kv_cache"]["dtype"],
        "stages": [
            {
                "weights": weights.get(stage, 0),
                "page": cache.get(stage, 0),
                "kv_cache": cache.get(stage, 0) * (plan["limits"]["num_pages"] // groups),
            }
            for stage in range(mesh.get("pp", 1))
        ],
        "steps": list(entry["steps"]),
        "programs": dict(entry.get("programs", {})),
    }


def facts_of(targets: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the device facts of a compile's own files; empty where its plan has no devices."""
    found = find_plan(targets, files)
    if found is None:
        return {}
    family, name = found
    return device_facts(json.loads(files[name]), family, targets[family])


def format_devices(facts: Mapping[str, Any], width: int) -> list[str]:
    """Return the lines on target, devices and steps; the names of the facts take `width`."""
    if not facts:
        return []
    count = facts["count"]
    where = f"mesh {facts['mesh']}, {count} devices" if facts["mesh"] else "one device"
    lines = [
        ("target", f"{facts['target']}, {where}"),
        *(
            (f"stage {index}" if len(facts["stages"]) > 1 else "a device", _stage(facts, stage))
            for index, stage in enumerate(facts["stages"])
        ),
        ("sequences of", f"up to {facts['context']} tokens"),
        ("steps", ", ".join(facts["steps"])),
    ]
    if facts["compiler"]:
        lines.append(("compiler", facts["compiler"]))
    if facts["programs"]:
        lines.append(("measured speed", "none: the programs were compiled, and run nowhere"))
    for name, one in facts["programs"].items():
        lines += [(name, _program(one)), ("", _collectives(one)), ("", _copies(one))]
    lines = [(name, text) for name, text in lines if text]
    return [f"{name.ljust(width - 1)} {text}" for name, text in lines]


def _stage(facts: Mapping[str, Any], stage: Mapping[str, int]) -> str:
    return (
        f"{megabytes(stage['weights'])} of weights, {facts['pages']} pages of "
        f"{facts['page_tokens']} tokens in {megabytes(stage['kv_cache'])} of "
        f"{facts['kv_cache_dtype']} KV cache"
    )


def _program(one: Mapping[str, Any]) -> str:
    memory = one["memory"]
    return (
        f"{megabytes(memory['total'])} a device: {megabytes(memory['arguments'])} arguments, "
        f"{megabytes(memory['temporaries'])} temporaries, {megabytes(memory['code'])} code; "
        f"{one['flops'] / 1e9:.3f} GFLOP, {one['fused_share']:.0%} of operations fused"
    )


def _collectives(one: Mapping[str, Any]) -> str:
    """Return the collectives of a program: how often each runs, along which axes, its bytes."""
    return "; ".join(
        f"{each['times'] or '?'} {each['kind']} along {'+'.join(each['axes'] or ('?',))} "
        f"of {each['bytes']:,} bytes"
        for each in one["collectives"]
    )


def _copies(one: Mapping[str, Any]) -> str:
    """Return what is written anew at every step and should not be: wide weights, whole caches."""
    wide = [each for each in one["copies"] if each["widened"]]
    kinds = (("weights in a wider type", wide), ("KV caches", one["cache_copies"]))
    return "; ".join(
        f"{sum(each['times'] or each['count'] for each in found)} copies of {what}, "
        f"{megabytes(sum((each['times'] or each['count']) * each['bytes'] for each in found))}"
        for what, found in kinds
        if found
    )


def _weights(plan: Mapping[str, Any]) -> dict[int, int]:
    """Return the bytes of weights on a device of each stage."""
    found: dict[int, int] = {}
    for one in plan["parameters"]:
        size = -(-prod(one["shape"]) * _BITS[one["dtype"]] // 8)
        found[one["stage"]] = found.get(one["stage"], 0) + size
    return found


_BITS = {"float32": 32, "bfloat16": 16, "float16": 16, "int32": 32, "int8": 8, "int4": 4}


def _cache(plan: Mapping[str, Any]) -> dict[int, int]:
    """Return the bytes of a page on a device of each stage."""
    found: dict[int, int] = {}
    for one in plan["kv_cache"]["layers"]:
        found[one["stage"]] = found.get(one["stage"], 0) + one["bytes_per_page"]
    return found


def _mesh(text: str) -> dict[str, int]:
    """Return the sizes of the axes in a canonical mesh text; the serving install has no `Mesh`."""
    sizes = {}
    for part in text.split("x") if text else ():
        name = part.rstrip("0123456789")
        sizes[name] = int(part[len(name) :])
    return sizes
