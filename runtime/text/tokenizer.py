"""The tokenizer of an artifact: text to token ids and back, and the model's special tokens."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer as RustTokenizer

from ingot.errors import ArtifactError, RequestError

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_NAMED_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token")


class Tokenizer:
    """A Hugging Face fast tokenizer.

    `special_tokens` maps names such as `bos_token` to their text, as chat templates want them.
    Safe to use from several threads.
    """

    def __init__(self, backend: RustTokenizer, special_tokens: Mapping[str, str]) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._added = frozenset(backend.get_added_tokens_decoder())
        self._byte_level = "ByteLevel(" in repr(backend.decoder)
        self.special_tokens = dict(special_tokens)

    @classmethod
    def from_folder(cls, folder: Path) -> "Tokenizer":
        """Read tokenizer.json and, where there is one, tokenizer_config.json."""
        path = folder / TOKENIZER_FILE
        if not path.is_file():
            raise ArtifactError("there is no tokenizer", where=str(path), hint=_HINT)
        try:
            backend = RustTokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare `Exception`
            raise ArtifactError(str(error), where=str(path), hint=_HINT) from error
        return cls(backend, _special_tokens(folder / CONFIG_FILE))

    def to_json(self) -> str:
        """Return the tokenizer as the text of a tokenizer.json."""
        return self._backend.to_str()

    @property
    def vocab_size(self) -> int:
        """Token ids that it knows, added ones included."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def eos_id(self) -> int | None:
        """The token named `eos_token`."""
        text = self.special_tokens.get("eos_token")
        return None if text is None else self._backend.token_to_id(text)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids; with the special tokens that the tokenizer puts around a text."""
        try:
            encoding = self._backend.encode(text, add_special_tokens=add_special_tokens)
        except TypeError as error:  # what `tokenizers` says of a text that UTF-8 cannot hold
            raise RequestError(
                "is not Unicode text", where="prompt", hint="Remove the lone surrogates."
            ) from error
        return list(encoding.ids)

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text; bytes that are no UTF-8 become U+FFFD, unknown ids nothing."""
        return self._backend.decode(list(token_ids), skip_special_tokens=skip_special_tokens)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token alone, also where they are a part of a character."""
        symbol = self._backend.id_to_token(token_id) or ""
        if token_id in self._added:
            return symbol.encode()
        if self._byte_level and all(character in _BYTES for character in symbol):
            return bytes(_BYTES[character] for character in symbol)
        if match := _BYTE_TOKEN.fullmatch(symbol):
            return bytes.fromhex(match[1])
        return self.token_text(token_id).encode()

    def token_text(self, token_id: int) -> str:
        """The text of one token alone; special tokens by name, partial characters as U+FFFD."""
        return self.decode([token_id], skip_special_tokens=False)


def _byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in a byte-level vocabulary (GPT-2's table).

    Printable Latin-1 bytes stand for themselves, the others for the characters from U+0100 on.
    """
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }


_BYTES = _byte_alphabet()
_HINT = "Compile the model again from a checkpoint that has a tokenizer.json."


def _special_tokens(path: Path) -> dict[str, str]:
    """The named special tokens of a tokenizer_config.json; each is a string or has a `content`."""
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(f"is not JSON: {error}", where=str(path), hint=_HINT) from error
    tokens = {}
    for name in _NAMED_TOKENS:
        value = config.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            tokens[name] = text
    return tokens
