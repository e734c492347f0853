"""What Ingot has to reach, and whether it does: each figure beside the bar that was set for it."""

from collections.abc import Iterator
from dataclasses import dataclass

from .forms import OURS
from .result import ModelResult

SMALL, LARGE = "qwen2.5-0.5b", "llama-3.2-1b"
COMPILE_SECONDS = {SMALL: 30.0, LARGE: 60.0}
NEAR_LIMIT = 0.75
"""Where a peer itself reaches this share of the read bandwidth, little is left to gain."""


@dataclass(frozen=True)
class Row:
    """A bar: what is measured, the figure in words, the bar in words, and whether it is met."""

    model: str
    what: str
    figure: str
    bar: str
    met: bool


def rows(result: ModelResult) -> Iterator[Row]:
    """Yield the bars for which there are measurements."""
    for group in (_decode, _prefill, _many, _long, _start, _memory, _compile, _beside, _avx2):
        for what, figure, bar, met in group(result):
            yield Row(result.model.name, what, figure, bar, met)


Found = Iterator[tuple[str, str, str, bool]]
DECODE_BARS = {"int4": (0.84, 1.25), "int8": (0.92, 1.2), "bf16": (0.86, 1.15)}


def _decode(result: ModelResult) -> Found:
    for width, (share_bar, ratio_bar) in DECODE_BARS.items():
        form = OURS[width]
        share, ratio = result.read_share(form, "single"), result.ratio(width, "single", "decode")
        if share is None or ratio is None:
            continue
        small_int4 = width == "int4" and result.model.name == SMALL
        near = width == "int4" and result.best_read_share(width, "single") > NEAR_LIMIT
        ratio_bar = 1.05 if near and not small_int4 else ratio_bar
        met = ratio >= ratio_bar and (small_int4 or share >= share_bar)
        bar = f"≥ {ratio_bar:.2f} times" + ("" if small_int4 else f", ≥ {share_bar:.0%} of read")
        best = result.best_peer(width, "single", "decode")
        figure = f"{ratio:.2f} times {best}, {share:.0%} of read"
        yield f"decode at 512, {width}", figure, bar, met


def _prefill(result: ModelResult) -> Found:
    for width, limits, share_bar, ratio_bar in (
        ("int4", ("int8",), 0.48, 1.4),
        ("int8", ("int8",), 0.48, 1.4),
        ("bf16", ("bf16", "f32"), 0.70, None),
    ):
        share = result.peak_share(OURS[width], "single", limits)
        ratio = result.ratio(width, "single", "prefill")
        if share is None:
            continue
        figure, bar = f"{share:.0%} of the {'/'.join(limits)} peak", f"≥ {share_bar:.0%}"
        met = share >= share_bar
        if ratio is not None:
            figure += f", {ratio:.2f} times {result.best_peer(width, 'single', 'prefill')}"
        if ratio_bar is not None:
            bar += f", ≥ {ratio_bar:.1f} times"
            met = met and ratio is not None and ratio >= ratio_bar
        yield f"prefill of 512, {width}", figure, bar, met


def _ratio_rows(result: ModelResult, part: str, key: str, what: str, bar: float) -> Found:
    ratio = result.ratio("int4", part, key)
    if ratio is not None:
        figure = f"{ratio:.2f} times {result.best_peer('int4', part, key)}"
        yield f"{what}, int4", figure, f"≥ {bar:.2f} times", ratio >= bar


def _many(result: ModelResult) -> Found:
    for count in (8, 16):
        yield from _ratio_rows(
            result, f"batch-{count}", "decode", f"decode of {count} sequences", 1.6
        )


def _long(result: ModelResult) -> Found:
    yield from _ratio_rows(result, "long", "prefill", "prefill of 4096", 1.5)
    yield from _ratio_rows(result, "long", "decode", "decode at 4096", 1.25)


def _start(result: ModelResult) -> Found:
    ratio = result.ratio("int4", "start", "seconds", least=True)
    if ratio is not None and result.model.name == SMALL:
        best = result.best_peer("int4", "start", "seconds", least=True)
        ours = result.median(OURS["int4"], "start", "seconds")
        figure = f"{ours:.2f} s, {ratio:.2f} times {best}"
        yield "process start to first token, int4", figure, "≤ 0.60 times", ratio <= 0.6


def _memory(result: ModelResult) -> Found:
    form = OURS["int4"]
    for part, tokens in (("memory-short", 512), ("memory-long", 4096)):
        used, facts = result.median(form, part, "bytes"), result.facts.get(form)
        if used is None or facts is None:
            continue
        cache = facts.kv_token_bytes * (tokens + 16)
        limit = 1.05 * (facts.file_bytes + cache) + 150e6
        figure, bar = f"{used / 1e6:,.0f} MB", f"≤ {limit / 1e6:,.0f} MB"
        yield f"resident memory at {tokens}, int4", figure, bar, used <= limit


def _compile(result: ModelResult) -> Found:
    seconds, bar = result.seconds(OURS["int4"]), COMPILE_SECONDS.get(result.model.name)
    if seconds is None or bar is None:
        return
    others = {f: s for f in result.peers("int4") if (s := result.seconds(f)) is not None}
    least = min(others, key=others.__getitem__, default="")
    beside = f" ({least}: {others[least]:.0f} s)" if least else ""
    yield "compile, int4", f"{seconds:.0f} s{beside}", f"≤ {bar:.0f} s", seconds <= bar


def _beside(result: ModelResult) -> Found:
    share = result.kept(OURS["int4"])
    if share is not None:
        others = [s for form in result.peers("int4") if (s := result.kept(form)) is not None]
        best = f" (peers: {max(others):.0%} at best)" if others else ""
        yield "decode beside a busy process, int4", f"{share:.0%}{best}", "≥ 40%", share >= 0.4


def _avx2(result: ModelResult) -> Found:
    share = result.read_share(OURS["int4"], "avx2")
    ratio = result.ratio("int4", "avx2", "decode")
    if share is not None and ratio is not None:
        best = result.best_peer("int4", "avx2", "decode")
        figure = f"{ratio:.2f} times {best}, {share:.0%} of read"
        met = ratio >= 1.1 and share >= 0.8
        yield "decode at 512 with AVX2 alone, int4", figure, "≥ 1.10 times, ≥ 80% of read", met
