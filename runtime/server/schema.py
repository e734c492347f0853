"""The fields that chat and completion requests share, and how they become sampling parameters."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ingot.runtime.sampling import SamplingParams

from .errors import ApiError

MAX_CHOICES = 16


class StreamOptions(BaseModel):
    """`stream_options` of a request."""

    include_usage: bool = False


class GenerationRequest(BaseModel):
    """Fields of OpenAI's interface, and those that vLLM adds.

    A field left out or null takes the model's default.  Fields that are not known are let through
    unread; fields that are known and not supported are refused by `check_supported`.
    """

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    model: str | None = None
    n: int = Field(default=1, ge=1, le=MAX_CHOICES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**64)
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def unsupported(self) -> Mapping[str, Any]:
        """Fields that would change the answer and are not supported, with what was asked."""
        return {}

    def check_supported(self) -> None:
        """Refuse what would otherwise be ignored silently."""
        for name, value in self.unsupported().items():
            if value:
                raise ApiError(400, f"{name} is not supported. Leave it out.", param=name)
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "stream_options: only allowed with stream.", param="stream_options")

    def params(
        self, defaults: SamplingParams, *, max_tokens: int | None, logprobs: int | None
    ) -> list[SamplingParams]:
        """The parameters of each of the `n` choices; raises `RequestError`."""
        given = {
            name: value
            for name in (
                "temperature",
                "top_p",
                "top_k",
                "min_p",
                "repetition_penalty",
                "presence_penalty",
                "frequency_penalty",
                "logit_bias",
            )
            if (value := getattr(self, name)) is not None
        }
        first = replace(
            defaults,
            **given,
            max_tokens=max_tokens,
            stop=_as_tuple(self.stop),
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=self.ignore_eos,
            logprobs=logprobs,
        )
        if self.seed is None:
            return [first] * self.n
        return [replace(first, seed=(self.seed + index) % 2**64) for index in range(self.n)]


def _as_tuple(stop: str | list[str] | None) -> tuple[str, ...]:
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop)
