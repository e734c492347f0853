"""The report of a compile as one HTML page: no script, nothing from the network, light and dark."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ingot.ir import Graph, Node

from .device_page import device_section
from .drawing import draw
from .page_parts import bar, section, table
from .page_style import STYLE
from .table import megabytes


def html_page(document: Mapping[str, Any]) -> str:
    """Return the page of a document that `report_document` made."""
    name = escape(document["name"])
    sections = [
        _summary(document),
        section("Passes", _passes(document)),
        section("Contracts", _contracts(document["verification"])),
        section("Weights", _weights(document)),
        section("Memory and kernels", _machine(document)),
        device_section(document["devices"]),
        section("Where the work is", _operations(document["operations"])),
        section("One layer", _layer(document["layer"])),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: compile report</title><style>{STYLE}</style></head><body>"
        f"<h1>{name}</h1>{''.join(sections)}</body></html>\n"
    )


def _summary(document: Mapping[str, Any]) -> str:
    architecture = document["architecture"]
    facts = [
        ("model", f"{architecture['model_type']}, {architecture.get('layers', '?')} layers"),
        ("parameters", f"{document['parameters']:,}"),
        ("artifact", megabytes(document["bytes"])),
        ("compiled in", f"{document['seconds']:.1f} s"),
        ("memory at most", megabytes(document["peak_memory"])),
    ]
    speed = document["speed"]
    if speed is not None and speed["decode"]:
        facts.append(("decode", f"{speed['decode']:.1f} tokens/s"))
        facts.append(("prefill", f"{speed['prefill']:.0f} tokens/s"))
    cards = "".join(f"<div><b>{escape(text)}</b>{escape(name)}</div>" for name, text in facts)
    pipeline = escape(document["pipeline"]).replace(",", ",<wbr>")
    return f"<div class=cards>{cards}</div><p><code>{pipeline}</code></p>"


def _passes(document: Mapping[str, Any]) -> str:
    passes = document["passes"]
    total = sum(one["seconds"] for one in passes) or 1.0
    rows = []
    for one in passes:
        before, after = one["before"], one["after"]
        rows.append(
            (
                f"<code>{escape(one['pass'])}</code>",
                escape(one["contract"]),
                f"{one['seconds']:.3f}",
                bar(one["seconds"] / total),
                f"{before['total']} → {after['total']}",
                " → ".join(megabytes(int(side["weight_bytes"])) for side in (before, after)),
                f"{before['flops'] / 1e9:.3f} → {after['flops'] / 1e9:.3f}",
                _changes(before["ops"], after["ops"]),
            )
        )
    header = ("pass", "contract", "seconds", "share", "operations", "weights", "GFLOP a token")
    return table((*header, "changed"), rows, left=2)


def _changes(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return which operations came and went, folded up where they are many."""
    names = sorted(n for n in {**before, **after} if before.get(n, 0) != after.get(n, 0))
    if not names:
        return "nothing"
    items = "".join(
        f"<li><code>{escape(n)}</code> {before.get(n, 0)} → {after.get(n, 0)}</li>" for n in names
    )
    return f"<details><summary>{len(names)} kinds</summary><ul>{items}</ul></details>"


def _contracts(checks: Sequence[Mapping[str, Any]]) -> str:
    if not checks:
        return "<p>The passes were not verified; <code>--verify-passes</code> does that.</p>"
    rows = [
        (
            f"<code>{escape(one['pass'])}</code>",
            escape(one["contract"]),
            "kept" if one["passed"] else "<b>broken</b>",
            f"{one['error']:.2g}",
            f"{one['allowed']:g}",
        )
        for one in checks
    ]
    return table(("pass", "contract", "", "error", "allowed"), rows, left=3)


def _weights(document: Mapping[str, Any]) -> str:
    total = sum(kind["bytes"] for kind in document["kinds"]) or 1
    rows = [
        (
            f"<code>{escape(kind['name'])}</code>",
            escape(kind["encoding"]),
            escape(kind["packing"]),
            str(kind["count"]),
            f"{kind['parameters']:,}",
            f"{8 * kind['bytes'] / kind['parameters']:.2f}",
            megabytes(kind["bytes"]),
            bar(kind["bytes"] / total),
        )
        for kind in document["kinds"]
    ]
    header = (
        "weights",
        "encoding",
        "packing",
        "count",
        "parameters",
        "bits/weight",
        "size",
        "share",
    )
    return table(header, rows, left=3)


def _machine(document: Mapping[str, Any]) -> str:
    memory = [
        (escape(key.replace("_", " ")), f"{value:,}" if isinstance(value, int) else escape(value))
        for key, value in document["memory"].items()
    ]
    kernels = [
        (escape(level), str(entry["count"]), megabytes(entry["bytes"]))
        for level, entry in document["kernels"].items()
    ]
    files = [(f"<code>{escape(n)}</code>", f"{size:,}") for n, size in document["files"].items()]
    return (
        table(("memory", "bytes or number"), memory)
        + table(("level", "kernels", "object"), kernels)
        + table(("file", "bytes"), files)
    )


def _operations(work: Mapping[str, Any]) -> str:
    decode, prefill = work["decode"], work["prefill"]
    bytes_ = sum(cost["bytes"] for cost in decode.values()) or 1.0
    flops = sum(cost["flops"] for cost in prefill.values()) or 1.0
    names = sorted(decode, key=lambda name: -decode[name]["bytes"])
    rows = [
        (
            f"<code>{escape(name)}</code>",
            megabytes(int(decode[name]["bytes"])),
            bar(decode[name]["bytes"] / bytes_),
            f"{prefill[name]['flops'] / 1e9:.3f}",
            bar(prefill[name]["flops"] / flops),
        )
        for name in names
    ]
    said = (
        f"<p>By the operations' own costs: bytes that decoding one token after {work['context']} "
        f"others moves, which is what it takes time for, and FLOPs of a prefill of "
        f"{work['prefill_tokens']} tokens.</p>"
    )
    header = ("operation", "bytes a token", "share", "GFLOP of a prefill", "share")
    return said + table(header, rows)


def _layer(layer: Mapping[str, Any] | None) -> str:
    if layer is None:
        return "<p>The model has no numbered layers, or not all of it was raised.</p>"
    sides = (("when raised", layer["before"]), ("after the passes", layer["after"]))
    figures = "".join(
        f"<figure><figcaption>{escape(layer['name'])} {title}</figcaption>{draw(_graph(graph))}"
        "</figure>"
        for title, graph in sides
    )
    return f"<div class=graphs>{figures}</div>"


def _graph(values: Mapping[str, Any]) -> Graph:
    nodes = tuple(Node(**node) for node in values["nodes"])
    return Graph(values["layer"], nodes, tuple((a, b) for a, b in values["edges"]))
