"""The checks that every request passes before it is queued."""

from collections.abc import Iterable, Sequence

from ingot.errors import RequestError
from ingot.runtime.executor import Limits
from ingot.runtime.sampling import SamplingParams


def check_prompt(prompt: Sequence[int], limits: Limits, longest: int) -> None:
    """Refuse a prompt that is empty, longer than `longest`, or holds unknown tokens."""
    if not prompt:
        raise RequestError("is empty", where="prompt", hint="Give at least one token.")
    if len(prompt) > longest:
        raise RequestError(
            f"has {len(prompt)} tokens, and this model's context leaves room for {longest}",
            where="prompt",
            hint="Shorten the prompt.",
        )
    check_token_ids("prompt", prompt, limits)


def check_token_ids(field: str, token_ids: Iterable[int], limits: Limits) -> None:
    """Refuse what is no token of the model."""
    for token in token_ids:
        if isinstance(token, bool) or not isinstance(token, int):
            raise RequestError(
                f"{token!r} is no token id", where=field, hint="Give a list of integers."
            )
        if not 0 <= token < limits.vocab_size:
            raise RequestError(
                f"there is no token {token}",
                where=field,
                hint=f"Give token ids from 0 to {limits.vocab_size - 1}.",
            )


def check_params(params: SamplingParams, limits: Limits) -> None:
    """Refuse parameters that name unknown tokens; everything else, `SamplingParams` has checked."""
    check_token_ids("logit_bias", params.logit_bias, limits)
    check_token_ids("stop_token_ids", params.stop_token_ids, limits)
