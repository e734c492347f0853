"""How the tokens of one request are chosen, and when it ends.

The names and the defaults are those that users of vLLM know.  What is written here is what happens:
the defaults of a model's `generation_config.json` enter only where no parameters are given at all
(`LLM.default_params`), or field by field in the daemon and the terminal.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ingot.errors import RequestError

MAX_LOGPROBS = 20
MAX_STOP_STRINGS = 16
_NO_BIAS: Mapping[int, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """The parameters of one request; a value out of range is a `RequestError` that names the field.

    The order in which they act on a row of logits: bias, penalties, temperature, then the filters
    top-k, top-p and min-p, then one draw.  Temperature 0 takes the most likely token.
    """

    max_tokens: int | None = 16
    """The most tokens to generate, ≥ 1; `None`: until the context is full."""
    temperature: float = 1.0
    """≥ 0; 0 is greedy."""
    top_k: int = 0
    """Only the k most likely tokens, ≥ 1; 0 or -1: all."""
    top_p: float = 1.0
    """Only the fewest tokens whose probabilities reach this sum, in (0, 1]."""
    min_p: float = 0.0
    """Only tokens at least this fraction as likely as the most likely one, in [0, 1]."""
    repetition_penalty: float = 1.0
    """> 0; logits of tokens seen in prompt or output are divided (if positive) or multiplied."""
    presence_penalty: float = 0.0
    """In [-2, 2]; subtracted once from the logits of tokens in the output."""
    frequency_penalty: float = 0.0
    """In [-2, 2]; subtracted once for each occurrence in the output."""
    logit_bias: Mapping[int, float] = field(default_factory=lambda: _NO_BIAS)
    """Token id → what is added to its logit, in [-100, 100]."""
    seed: int | None = None
    """In [0, 2**64); the same seed gives the same tokens, alone or in company.  `None`: random."""
    stop: tuple[str, ...] = ()
    """Strings that end the output; they are cut from the text.  A lone string is taken as one."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end the output, beside the model's own end-of-sequence tokens."""
    ignore_eos: bool = False
    """Go on after the model's end-of-sequence tokens."""
    logprobs: int | None = None
    """`None`: none; n ≥ 0: of the chosen token and of the n most likely ones."""

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            object.__setattr__(self, "stop", (self.stop,))
        object.__setattr__(self, "stop", tuple(self.stop))
        object.__setattr__(self, "stop_token_ids", tuple(self.stop_token_ids))
        object.__setattr__(self, "logit_bias", MappingProxyType(dict(self.logit_bias)))
        self._check_numbers()
        self._check_collections()

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is taken, without a draw."""
        return self.temperature == 0.0

    def _check_numbers(self) -> None:
        _integer("max_tokens", self.max_tokens, 1, None)
        _number("temperature", self.temperature, 0.0, None)
        _integer("top_k", self.top_k, -1, None)
        _number("top_p", self.top_p, 0.0, 1.0, open_below=True)
        _number("min_p", self.min_p, 0.0, 1.0)
        _number("repetition_penalty", self.repetition_penalty, 0.0, None, open_below=True)
        _number("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _number("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        _integer("seed", self.seed, 0, 2**64 - 1)
        _integer("logprobs", self.logprobs, 0, MAX_LOGPROBS)

    def _check_collections(self) -> None:
        for token, bias in self.logit_bias.items():
            _integer("logit_bias", token, 0, None)
            _number(f"logit_bias[{token}]", bias, -100.0, 100.0)
        for token in self.stop_token_ids:
            _integer("stop_token_ids", token, 0, None)
        if len(self.stop) > MAX_STOP_STRINGS:
            _refuse("stop", len(self.stop), f"at most {MAX_STOP_STRINGS} strings")
        for text in self.stop:
            if not isinstance(text, str) or not text:
                _refuse("stop", text, "strings of at least one character")


def _integer(name: str, value: object, low: int, high: int | None) -> None:
    """Refuse `value` unless it is `None` or an integer in [low, high]."""
    if value is None:
        return
    wanted = f"an integer {_range_text(low, high, open_below=False)}"
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(name, value, wanted)
    elif value < low or (high is not None and value > high):
        _refuse(name, value, wanted)


def _number(
    name: str, value: object, low: float, high: float | None, *, open_below: bool = False
) -> None:
    """Refuse `value` unless it is a finite number in [low, high], or in (low, high]."""
    wanted = f"a number {_range_text(low, high, open_below=open_below)}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        _refuse(name, value, wanted)
    elif value < low or (open_below and value == low) or (high is not None and value > high):
        _refuse(name, value, wanted)


def _range_text(low: float, high: float | None, *, open_below: bool) -> str:
    if high is None:
        return f"> {_plain(low)}" if open_below else f"≥ {_plain(low)}"
    bracket = "(" if open_below else "["
    return f"in {bracket}{_plain(low)}, {_plain(high)}]"


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _refuse(name: str, value: object, wanted: str) -> None:
    raise RequestError(f"{value!r} is not allowed", where=name, hint=f"Give {wanted}.")
