"""Log-probabilities in the two shapes of OpenAI's interface."""

from collections.abc import Sequence

from ingot.runtime.engine import TokenLogprob
from ingot.runtime.text import Tokenizer

LOWEST = -9999.0
"""Stands for minus infinity, which JSON does not have."""


def chat_logprobs(
    entries: Sequence[TokenLogprob], tokenizer: Tokenizer
) -> dict[str, list[dict[str, object]]]:
    """The `logprobs` of a chat choice."""
    content = [
        {
            **_token(tokenizer, entry.token_id, entry.logprob),
            "top_logprobs": [_token(tokenizer, *each) for each in entry.top],
        }
        for entry in entries
    ]
    return {"content": content}


def completion_logprobs(
    entries: Sequence[TokenLogprob], tokenizer: Tokenizer, offset: int
) -> dict[str, list[object]]:
    """The `logprobs` of a completion choice; `offset`: characters before its first token."""
    tokens = [tokenizer.token_text(entry.token_id) for entry in entries]
    offsets: list[object] = []
    for text in tokens:
        offsets.append(offset)
        offset += len(text)
    return {
        "tokens": list(tokens),
        "token_logprobs": [max(entry.logprob, LOWEST) for entry in entries],
        "top_logprobs": [
            {tokenizer.token_text(token): max(value, LOWEST) for token, value in entry.top}
            for entry in entries
        ],
        "text_offset": offsets,
    }


def _token(tokenizer: Tokenizer, token_id: int, logprob: float) -> dict[str, object]:
    return {
        "token": tokenizer.token_text(token_id),
        "logprob": max(logprob, LOWEST),
        "bytes": list(tokenizer.token_bytes(token_id)),
    }
