"""Everything about a model that is text: tokenizer, chat template, and its generation defaults."""

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingot.errors import ArtifactError, RequestError
from ingot.runtime.sampling import SamplingParams

from .chat_template import ChatTemplate, Message, load_chat_template
from .generation_config import FILE, GenerationDefaults, read_generation_config
from .stream import TextStream
from .tokenizer import TOKENIZER_FILE, Tokenizer

Prompt = str | Sequence[int]
NO_DEFAULTS = GenerationDefaults(frozenset(), SamplingParams(max_tokens=None, temperature=0.0))


@dataclass(frozen=True)
class ModelText:
    """The text side of a model; a model without a tokenizer takes and gives token ids alone."""

    tokenizer: Tokenizer | None = None
    chat_template: ChatTemplate | None = None
    defaults: GenerationDefaults = NO_DEFAULTS

    @staticmethod
    def from_folder(folder: Path) -> "ModelText":
        """Read the files that an artifact and a Hugging Face folder have in common."""
        tokenizer = None
        if (folder / TOKENIZER_FILE).is_file():
            tokenizer = Tokenizer.from_folder(folder)
        config = _read_json(folder / FILE)
        if "eos_token_id" not in config:
            config["eos_token_id"] = _read_json(folder / "config.json").get("eos_token_id")
        eos_id = tokenizer.eos_id if tokenizer else None
        defaults = read_generation_config(config, eos_id=eos_id, where=str(folder / FILE))
        return ModelText(tokenizer, load_chat_template(folder), defaults)

    def encode(self, prompt: Prompt) -> list[int]:
        """Return the token ids of a prompt; a text gets the tokenizer's special tokens."""
        if isinstance(prompt, str):
            return self.require_tokenizer().encode(prompt)
        try:
            return [operator.index(token) for token in prompt]
        except TypeError as error:
            raise RequestError(
                f"{error}", where="prompt", hint="Give a text or a list of token ids."
            ) from error

    def encode_chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **variables: object,
    ) -> list[int]:
        """Return the token ids of a conversation, by the model's chat template."""
        tokenizer = self.require_tokenizer()
        if self.chat_template is None:
            raise RequestError(
                "this model has no chat template",
                where="messages",
                hint="Use completions, or compile a checkpoint that has a chat template.",
            )
        if not messages:
            raise RequestError("is empty", where="messages", hint="Give at least one message.")
        text = self.chat_template.render(
            messages,
            special_tokens=tokenizer.special_tokens,
            tools=tools,
            documents=documents,
            add_generation_prompt=add_generation_prompt,
            **variables,
        )
        return tokenizer.encode(text, add_special_tokens=False)

    def stream(self, prompt: Sequence[int], stops: Sequence[str] = ()) -> TextStream | None:
        """Return what turns the output behind `prompt` into text; `None` without a tokenizer."""
        if self.tokenizer is None:
            if stops:
                self.require_tokenizer()
            return None
        return TextStream(self.tokenizer, prompt, stops)

    def require_tokenizer(self) -> Tokenizer:
        """Return the tokenizer; a `RequestError` where there is none."""
        if self.tokenizer is None:
            raise RequestError(
                "this model has no tokenizer", where="prompt", hint="Give token ids."
            )
        return self.tokenizer


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        value = error
    if not isinstance(value, dict):
        raise ArtifactError("is no JSON object", where=str(path), hint="Compile the model again.")
    return value
