"""The section on devices of the report's page: the mesh, what a device holds, the programs."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ingot.ir import AXES, Mesh

from .mesh_drawing import draw_mesh
from .page_parts import bar, section, table
from .units import megabytes


def device_section(facts: Mapping[str, Any]) -> str:
    """Return the section for the device facts of a report; empty for a target without devices."""
    if not facts:
        return ""
    content = [f"<p>{escape(_summary(facts))}</p>"]
    if facts["mesh"]:
        mesh = Mesh.parse(facts["mesh"])
        caption = f"The mesh {mesh}: device numbers, and their places along the axes"
        if drawn := draw_mesh(mesh):
            content.append(f"<figure><figcaption>{caption}</figcaption>{drawn}</figure>")
        content.append(_axes(mesh, facts["programs"]))
    content.append(_stages(facts))
    if facts["programs"]:
        content += [_programs(facts["programs"]), _copies(facts["programs"])]
    return section("Devices", "".join(content))


def _summary(facts: Mapping[str, Any]) -> str:
    text = f"{facts['target']}, {facts['count']} devices"
    if facts["topology"]:
        text += f" of {facts['topology']}"
    text += f"; sequences of up to {facts['context']} tokens."
    if facts["programs"]:
        text += (
            f" Compiled by {facts['compiler']}, without such devices: what follows is what their"
            " compiler says, and nothing was run."
        )
    return text


def _axes(mesh: Mesh, programs: Mapping[str, Any]) -> str:
    """Return what the devices along each axis divide, and how they talk in each program."""
    rows = [
        (
            f"<code>{escape(name)}</code>",
            escape(AXES[name]),
            str(size),
            "<br>".join(_talk(name, programs)) or "nothing",
        )
        for name, size in mesh.axes
        if size > 1
    ]
    return table(("axis", "divides", "devices", "talk of one step"), rows, left=2)


def _talk(axis: str, programs: Mapping[str, Any]) -> Iterator[str]:
    for name, one in programs.items():
        along = [each for each in one["collectives"] if axis in (each["axes"] or ())]
        if along:
            yield f"{escape(name)}: {_collectives(along)}"


def _collectives(found: Sequence[Mapping[str, Any]]) -> str:
    """Return collectives as text: how many run in a step, of what kind, and the bytes of all."""
    kinds: dict[str, int | None] = {}
    for each in found:
        before, times = kinds.get(each["kind"], 0), each["times"]
        kinds[each["kind"]] = None if before is None or times is None else before + times
    counts = ", ".join(f"{'?' if n is None else n} {escape(kind)}" for kind, n in kinds.items())
    bytes_ = [each["step_bytes"] for each in found]
    size = "?" if None in bytes_ else megabytes(sum(bytes_))
    return f"{counts}; {size} a device"


def _stages(facts: Mapping[str, Any]) -> str:
    rows = [
        (
            f"stage {number}" if len(facts["stages"]) > 1 else "a device",
            megabytes(stage["weights"]),
            f"{facts['pages']:,} of {facts['page_tokens']} tokens",
            f"{megabytes(stage['kv_cache'])} of {escape(facts['kv_cache_dtype'])}",
        )
        for number, stage in enumerate(facts["stages"])
    ]
    return table(("", "weights", "pages", "KV cache"), rows)


def _programs(programs: Mapping[str, Any]) -> str:
    most = max(one["memory"]["total"] for one in programs.values()) or 1
    rows = [
        (
            f"<code>{escape(name)}</code>",
            *(megabytes(one["memory"][key]) for key in ("arguments", "temporaries", "code")),
            f"{megabytes(one['memory']['total'])} {bar(one['memory']['total'] / most)}",
            f"{one['flops'] / 1e9:.3f}",
            f"{one['operations']:,}",
            bar(one["fused_share"]),
            _collectives(one["collectives"]) if one["collectives"] else "nothing",
        )
        for name, one in programs.items()
    ]
    header = ("program", "arguments", "temporaries", "code", "a device, of the most", "GFLOP")
    return table((*header, "operations", "fused", "talk of one step"), rows)


def _copies(programs: Mapping[str, Any]) -> str:
    """Return the weights and the caches that a program writes anew to memory at every step."""
    rows = [
        (
            f"<code>{escape(name)}</code>",
            f"<code>{escape(each['weight'])}</code>",
            "wider" if each["widened"] else "another layout",
            f"{escape(each['dtype'])} {'x'.join(map(str, each['shape']))}",
            "chip" if each["on_chip"] else "device memory",
            str(each["count"]),
            "?" if each["times"] is None else megabytes(each["bytes"] * each["times"]),
        )
        for name, one in programs.items()
        for each in (*one["copies"], *map(_as_copy, one["cache_copies"]))
    ]
    if not rows:
        return "<p>No program copies a weight or a KV cache: each is read as it is stored.</p>"
    header = ("program", "copied at every step", "as", "type", "in", "count", "bytes")
    return table(header, rows, left=5)


def _as_copy(cache: Mapping[str, Any]) -> dict[str, Any]:
    return {**cache, "weight": "KV cache", "widened": False, "on_chip": False}
