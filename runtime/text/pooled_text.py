"""Texts and pairs of texts as the tokens of a model that gives one row for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenizers import Encoding
from tokenizers import Tokenizer as RustTokenizer

from ingot.errors import RequestError

from .tokenizer import Tokenizer


@dataclass(frozen=True)
class Tokens:
    """One sequence with the segment of each of its tokens."""

    ids: list[int]
    types: list[int]


class PooledText:
    """Tokenizes with truncation, as sentence-transformers does; safe to use from several threads.

    `max_tokens` counts the special tokens that the tokenizer puts around a text.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, *, lower_case: bool) -> None:
        self._backend = RustTokenizer.from_str(tokenizer.to_json())
        # Of a pair, the longer text is cut first.
        self._backend.enable_truncation(max_tokens, strategy="longest_first")
        self._lower_case = lower_case

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Return each text's tokens, cut to the limit."""
        return self._encode([self._clean(text) for text in texts])

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """Return the tokens of each pair as one sequence, as the tokenizer joins them."""
        return self._encode([(self._clean(a), self._clean(b)) for a, b in pairs])

    def _clean(self, text: str) -> str:
        text = text.strip()
        return text.lower() if self._lower_case else text

    def _encode(self, inputs: Sequence[str] | Sequence[tuple[str, str]]) -> list[Tokens]:
        try:
            encodings: list[Encoding] = self._backend.encode_batch(list(inputs))
        except TypeError as error:  # what `tokenizers` says of a text that UTF-8 cannot hold
            raise RequestError(
                "is not Unicode text", where="input", hint="Remove the lone surrogates."
            ) from error
        return [Tokens(list(one.ids), list(one.type_ids)) for one in encodings]


def with_prompt(
    texts: Sequence[str], prompts: Mapping[str, str], name: str | None, default: str | None
) -> list[str]:
    """Return the texts behind the prompt called `name`, or the default one; raises RequestError."""
    chosen = default if name is None else name
    if chosen is None:
        return list(texts)
    if chosen not in prompts:
        known = ", ".join(map(repr, prompts)) or "none"
        raise RequestError(
            f"the model has no prompt {chosen!r}",
            where="prompt_name",
            hint=f"Its prompts: {known}.",
        )
    return [prompts[chosen] + text for text in texts]
