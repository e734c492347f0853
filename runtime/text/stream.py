"""Tokens in, text out, one at a time."""

from collections.abc import Sequence
from typing import Protocol

from .stop import StopMatcher

REPLACEMENT = "\ufffd"
"""What a decoder gives for bytes that are no character, or not yet one."""
CONTEXT_TOKENS = 6
"""Tokens of the prompt that decoding starts from, for decoders that treat a beginning specially."""
LONGEST_WINDOW = 64
"""Above this, tokens that add no text (a run of special tokens) are not kept."""


class Decoder(Protocol):
    """The part of a tokenizer that a stream needs."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of `token_ids`, special tokens left out."""
        ...


class Detokenizer:
    """Gives the text that each token adds to those before it.

    A token's text depends on its neighbours: a character may be spread over several tokens, and a
    word's leading space may be there only after another word.  So a window is decoded twice, with
    and without the new tokens, and the difference is the news; it starts at the last place where
    the text ended in whole characters.
    """

    def __init__(self, decoder: Decoder, context: Sequence[int] = ()) -> None:
        self._decoder = decoder
        self._window = list(context[-CONTEXT_TOKENS:])
        self._known = len(self._window)
        self._known_text = decoder.decode(self._window) if self._window else ""
        if self._known_text.endswith(REPLACEMENT):
            self._window, self._known, self._known_text = [], 0, ""

    def push(self, token_id: int) -> str:
        """Return what `token_id` adds, or nothing while a character is incomplete."""
        self._window.append(token_id)
        text = self._decoder.decode(self._window)
        if text == self._known_text and len(self._window) > LONGEST_WINDOW:
            self._window.pop()
        if len(text) <= len(self._known_text) or text.endswith(REPLACEMENT):
            return ""
        return self._advance(text)

    def flush(self) -> str:
        """Return what the last tokens add, incomplete characters as U+FFFD."""
        return self._advance(self._decoder.decode(self._window))

    def _advance(self, text: str) -> str:
        added = text[len(self._known_text) :]
        self._window = self._window[self._known :]
        self._known = len(self._window)
        self._known_text = self._decoder.decode(self._window)
        return added


class TextStream:
    """A detokenizer and the stop strings of one request."""

    def __init__(
        self, decoder: Decoder, context: Sequence[int] = (), stops: Sequence[str] = ()
    ) -> None:
        self._detokenizer = Detokenizer(decoder, context)
        self._stops = StopMatcher(stops)

    def push(self, token_id: int) -> tuple[str, bool]:
        """Return the text that may be shown now, and whether a stop string ended it."""
        return self._stops.push(self._detokenizer.push(token_id))

    def flush(self) -> str:
        """Return everything held back, at an end that is no stop string.

        A stop string that only the last, incomplete characters complete still cuts the text.
        """
        text, stopped = self._stops.push(self._detokenizer.flush())
        return text if stopped else text + self._stops.flush()
