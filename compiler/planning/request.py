"""What a user asks of a plan, and the configurations that it chooses among."""

from dataclasses import dataclass, replace
from typing import Any

from ingot.errors import UsageError
from ingot.ir import Encoding, Mesh, known_encodings
from ingot.targets import KvDtype, Settings, Target

from .work import KV_BITS

BATCH, CONTEXT, PROMPT, TOP = 8, 4096, 1024, 10
"""What is planned for where nothing is said; context and prompt as far as the model goes."""
CHUNK = 1024
"""The most tokens of a step that reads a prompt, where the settings do not say."""
W8A8 = "w8a8"
"""int8 weights whose linears read activations rounded to int8."""
CPU_ENCODINGS = ("none", "int8", "int4-g32")
ENCODINGS = ("none", "int8", "int4-g128")
STORED = "auto"
"""Weights as a quantised checkpoint stores them."""


@dataclass(frozen=True)
class Request:
    """What to plan for; 0 and empty stand for the defaults.

    `batch` sequences run at once, in all data groups together, each of up to `context` tokens.
    `ttft` is the most seconds to the first token of a prompt of `prompt` tokens, `tokens_per_s` the
    least tokens a second of all sequences together.  `devices` is for targets of any number.
    """

    context: int = 0
    batch: int = BATCH
    prompt: int = 0
    ttft: float = 0.0
    tokens_per_s: float = 0.0
    encodings: tuple[str, ...] = ()
    kv_dtypes: tuple[KvDtype, ...] = ()
    devices: int = 0
    top: int = TOP

    def __post_init__(self) -> None:
        for name, least in (
            ("batch", 1),
            ("context", 0),
            ("prompt", 0),
            ("devices", 0),
            ("top", 1),
        ):
            if getattr(self, name) < least:
                what = "number of sequences" if name == "batch" else f"value of {name}"
                raise UsageError(
                    f"{getattr(self, name)} is no {what}",
                    where=f"--{name}",
                    hint=f"Give {least} or more.",
                )
        for name in self.encodings:
            check_encoding(name)
        for kind in self.kv_dtypes:
            check_kv_dtype(kind)

    def within(self, positions: int) -> "Request":
        """Return the request with numbers for a model of `positions` positions.

        Raises `UsageError` for a context or a prompt that does not fit.
        """
        context = self.context or min(CONTEXT, positions)
        prompt = self.prompt or min(PROMPT, context)
        if context > positions:
            raise UsageError(
                f"the model has {positions} positions, and the context {context}",
                where="--context",
                hint=f"Ask for at most {positions}.",
            )
        if prompt > context:
            raise UsageError(
                f"a prompt of {prompt} tokens is longer than the context of {context}",
                where="--prompt",
                hint="Ask for a longer --context, or a shorter --prompt.",
            )
        return replace(self, context=context, prompt=prompt)


@dataclass(frozen=True)
class Configuration:
    """One way to compile a model: a mesh, how weights are stored, and the type of the KV cache."""

    mesh: Mesh
    encoding: str
    kv_dtype: KvDtype

    def settings(self, base: Settings) -> Settings:
        """Return the settings of a compile, what `base` says of other things kept."""
        mesh = str(self.mesh) if self.mesh.devices > 1 else ""
        return encoded(replace(base, mesh=mesh, kv_dtype=self.kv_dtype), self.encoding)

    def command(self) -> str:
        """Return the options of `ingot compile` that stand for it."""
        options = [f"--mesh {self.mesh}"] if self.mesh.devices > 1 else []
        if self.encoding == W8A8:
            options.append("--quantize int8 --activations int8")
        elif self.encoding != STORED:
            options.append(f"--quantize {self.encoding}")
        return " ".join([*options, f"--kv-dtype {self.kv_dtype}"])


def encoded(settings: Settings, encoding: str) -> Settings:
    """Return the settings with linear weights in `encoding`."""
    if encoding == W8A8:
        return replace(settings, linear="int8", activations="int8")
    return replace(settings, linear=encoding)


def check_encoding(name: str) -> None:
    """Raise `UsageError` for what is no encoding of weights."""
    known: list[Any] = ["none", W8A8, *known_encodings()]
    known = [one for one in known if one in ("none", W8A8) or not Encoding.parse(one).activation]
    if name not in (*known, STORED):
        raise UsageError(
            f"{name!r} is no encoding of weights",
            where="--encodings",
            hint=f"Encodings: {', '.join(known)}.",
        )


def check_kv_dtype(name: str) -> None:
    """Raise `UsageError` for what is no type of a KV cache."""
    if name not in KV_BITS:
        raise UsageError(
            f"{name!r} is no type of a KV cache",
            where="--kv-dtypes",
            hint=f"Types: {', '.join(KV_BITS)}.",
        )


def default_encodings(target: Target, stored: bool) -> tuple[str, ...]:
    """Return the encodings to choose among; `stored`: the checkpoint is quantised itself."""
    own = CPU_ENCODINGS if target.name == "cpu" else ENCODINGS
    return (STORED, *(name for name in own if name != "none")) if stored else own
