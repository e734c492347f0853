"""Rebuilds `tokenizer.json` from the tokenizer that a GGUF file describes in its metadata.

A GGUF file keeps vocabulary, merges and token types, and names the rule that splits text before
merging (`tokenizer.ggml.pre`); here that becomes the equivalent description for the `tokenizers`
library.
"""

import json
from collections.abc import Mapping
from typing import Any

from ingot.errors import UnsupportedError

CONTROL, USER_DEFINED = 3, 4

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

LLAMA3_NAMES = ("llama-bpe", "llama3", "llama-v3", "falcon3")
SPLITS: Mapping[str, str | None] = {
    **dict.fromkeys(LLAMA3_NAMES, LLAMA3_SPLIT),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), QWEN2_SPLIT),
    "tekken": TEKKEN_SPLIT,
    # The rule of GPT-2, which the library has built in.  llama.cpp also cuts digits one by one for
    # smollm; transformers does not, and the two differ only after two or more spaces.
    **dict.fromkeys(("default", "gpt-2", "smollm"), None),
}


def tokenizer_json(metadata: Mapping[str, Any], *, where: str) -> bytes | None:
    """Return the tokenizer in the `tokenizers` library's format, None if the file carries none.

    Raises UnsupportedError for a tokenizer that is not byte-level BPE, or one that splits text by a
    rule not known here: to guess would be to tokenise wrongly without a word.
    """
    if "tokenizer.ggml.tokens" not in metadata:
        return None
    kind = metadata.get("tokenizer.ggml.model")
    rule = metadata.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" or rule not in SPLITS:
        raise UnsupportedError(
            f"the tokenizer {kind!r} with the splitting rule {rule!r} cannot be rebuilt; known are "
            f"'gpt2' with {', '.join(SPLITS)}",
            where=where,
            hint="Give the Hugging Face checkpoint of the model, which has a tokenizer.json.",
        )
    vocabulary = {_byte_level(t): i for i, t in enumerate(metadata["tokenizer.ggml.tokens"])}
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(metadata),
        "normalizer": None,
        "pre_tokenizer": split_step(SPLITS[rule]),
        "post_processor": _post_processor(metadata, rule),
        "decoder": _byte_level_step(add_prefix_space=True, use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": rule in LLAMA3_NAMES,
            "vocab": vocabulary,
            "merges": [merge.split(" ") for merge in metadata.get("tokenizer.ggml.merges", ())],
        },
    }
    return json.dumps(description, ensure_ascii=False).encode("utf-8")


def adds_bos(metadata: Mapping[str, Any]) -> bool:
    """Whether text starts with the BOS token; Llama 3 files leave it to the splitting rule."""
    implied = metadata.get("tokenizer.ggml.pre") in LLAMA3_NAMES
    return bool(metadata.get("tokenizer.ggml.add_bos_token", implied))


def _byte_spelling() -> dict[int, str]:
    """Return the character that stands for each byte in a byte-level vocabulary (GPT-2's table)."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {b: chr(b) for b in visible} | {b: chr(256 + i) for i, b in enumerate(hidden)}


BYTE_SPELLING = _byte_spelling()
ALPHABET = frozenset(BYTE_SPELLING.values())


def _byte_level(token: str) -> str:
    """Return a token as the vocabulary spells it; some files keep added tokens as plain text."""
    if ALPHABET.issuperset(token):
        return token
    return "".join(BYTE_SPELLING[byte] for byte in token.encode("utf-8"))


def _added_tokens(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tokens that are matched whole in text: control tokens and user-defined ones."""
    tokens = metadata["tokenizer.ggml.tokens"]
    kinds = metadata.get("tokenizer.ggml.token_type", ())
    return [
        {
            "id": number,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == CONTROL,
        }
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=False))
        if kind in (CONTROL, USER_DEFINED) and ALPHABET.issuperset(token)
    ]


def _byte_level_step(*, add_prefix_space: bool, use_regex: bool) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def split_step(split: str | None) -> dict[str, Any]:
    """Return the step that splits text by a pattern, or by GPT-2's rule, and spells it in bytes."""
    if split is None:
        return _byte_level_step(add_prefix_space=False, use_regex=True)
    by_pattern = {
        "type": "Split",
        "pattern": {"Regex": split},
        "behavior": "Isolated",
        "invert": False,
    }
    to_bytes = _byte_level_step(add_prefix_space=False, use_regex=False)
    return {"type": "Sequence", "pretokenizers": [by_pattern, to_bytes]}


def _post_processor(metadata: Mapping[str, Any], rule: str) -> dict[str, Any]:
    start: list[dict[str, Any]] = []
    special: dict[str, Any] = {}
    number = metadata.get("tokenizer.ggml.bos_token_id")
    if adds_bos(metadata) and number is not None:
        token = metadata["tokenizer.ggml.tokens"][number]
        start = [{"SpecialToken": {"id": token, "type_id": 0}}]
        special = {token: {"id": token, "ids": [number], "tokens": [token]}}
    first, second = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    return {
        "type": "TemplateProcessing",
        "single": [*start, first],
        "pair": [*start, first, second],
        "special_tokens": special,
    }
