"""What a user asks of a compile, whatever the target."""

from dataclasses import dataclass
from typing import Any, Literal

from ingot.passes import find_pass, parse_pipeline

Dtype = Literal["float32", "bfloat16"]
KvDtype = Literal["auto", "float32", "bfloat16", "int8"]

AUTO = "auto"
SAME = "same"
"""The embedding and the head as the linears."""

STEP_SETTINGS = (
    "sequence_parallel",
    "context",
    "kv_pages",
    "decode_batches",
    "prefill_tokens",
    "activations",
)
"""What only targets of several devices, or of steps of fixed sizes, make anything of."""


@dataclass(frozen=True)
class Settings:
    """What a user asks of a compile.

    `linear` and `embedding` are encodings, "none" (keep floats), or "auto": what the checkpoint
    stores if that is quantised, the target's default otherwise; `embedding`, which is that of the
    head too, may be "same", as `linear` is.  `overrides` are `pattern=encoding`.  `dtype` is the
    type of weights that stay floats, "auto" as stored.
    `levels` are the instruction sets to carry, empty for all.  `pipeline`, where given, is run
    instead of the target's own passes, which `default` stands for in it; without that it says all
    of encodings and types itself.  `added` are passes with their places, as in `prune@after=raise`.

    `mesh` is the text of a mesh of devices, empty for the target's own, "auto" for what the planner
    chooses; `sequence_parallel` divides the tokens between the layers along `tp`.  `context` is the
    most tokens of a sequence, 0 for the model's; `kv_pages` the pages of the KV cache, 0 for the
    target's choice.  `decode_batches` and `prefill_tokens` are the sizes of the steps that a target
    of static shapes compiles: sequences of a decoding step, tokens of any other; empty: its own.
    `activations` says whether the inputs of linears with integer weights are rounded to 8 bits.
    """

    linear: str = "auto"
    embedding: str = "auto"
    overrides: tuple[str, ...] = ()
    dtype: Literal["auto"] | Dtype = "auto"
    kv_dtype: KvDtype = "auto"
    levels: tuple[str, ...] = ()
    pipeline: str = ""
    added: tuple[str, ...] = ()
    mesh: str = ""
    sequence_parallel: bool = False
    context: int = 0
    kv_pages: int = 0
    decode_batches: tuple[int, ...] = ()
    prefill_tokens: tuple[int, ...] = ()
    activations: Literal["auto", "float", "int8"] = "auto"

    def passes(self, default: str) -> str:
        """Return the text of the passes to run, where `default` is that of the target's own."""
        chosen = parse_pipeline(self.pipeline or "default", {"default": default})
        for text in self.added:
            chosen = chosen.with_passes(text)
        return str(chosen)

    def quantize(self, linear: str, embedding: str, floats: str = "") -> str:
        """Return the pass that encodes weights, where a target's defaults are as given.

        What is stored encoded is kept unless an encoding is asked for.  `floats` is the type of
        what stays float where the user names none, empty for as stored.
        """
        asked = self.linear != "auto"
        linear = self.linear if asked else linear
        if self.embedding == SAME:
            embedding = linear
        elif self.embedding != "auto":
            embedding = self.embedding
        elif linear == "none":
            embedding = "none"
        kind: Any = find_pass("quantize")
        chosen = kind(
            linear=linear,
            embedding=embedding,
            overrides=self.overrides,
            requantize=asked or self.embedding != "auto",
            float=floats if self.dtype == "auto" else self.dtype,
        )
        return str(chosen)
