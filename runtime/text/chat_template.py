"""Chat messages to the text of a prompt, by the model's own Jinja template, in a sandbox.

The environment is the one that `transformers.apply_chat_template` gives a template: the functions
`raise_exception` and `strftime_now`, a `tojson` that does not escape HTML, loop controls, and the
`generation` block as a no-op.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from ingot.errors import ArtifactError, RequestError

TEMPLATE_FILE = "chat_template.jinja"
CONFIG_FILE = "tokenizer_config.json"

Message = Mapping[str, Any]


class ChatTemplate:
    """One compiled template.  `render` runs code of the checkpoint, without access to anything."""

    def __init__(self, source: str, *, where: str = TEMPLATE_FILE) -> None:
        self._where = where
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise ArtifactError(
                f"the chat template is not valid: {error}",
                where=where,
                hint="Compile the model again with a chat template that transformers accepts.",
            ) from error

    def render(
        self,
        messages: Sequence[Message],
        *,
        special_tokens: Mapping[str, str],
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **variables: object,
    ) -> str:
        """Return the text of the prompt; what the template refuses is a `RequestError`."""
        values: dict[str, object] = {
            **special_tokens,
            **variables,
            "messages": [dict(message) for message in messages],
            "tools": tools,
            "documents": documents,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return self._template.render(values)
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise RequestError(
                f"the model's chat template refuses these messages: {error}",
                where="messages",
                hint="Check the roles, their order and the type of each content.",
            ) from error


def load_chat_template(folder: Path) -> ChatTemplate | None:
    """Read chat_template.jinja, or `chat_template` in tokenizer_config.json; `None`: there is none.

    Where several named templates are given, the one named `default` is taken.
    """
    path = folder / TEMPLATE_FILE
    if path.is_file():
        return ChatTemplate(path.read_text(encoding="utf-8"), where=str(path))
    config = folder / CONFIG_FILE
    if not config.is_file():
        return None
    entry = json.loads(config.read_text(encoding="utf-8")).get("chat_template")
    if isinstance(entry, list):
        entry = {item["name"]: item["template"] for item in entry}.get("default")
    return None if entry is None else ChatTemplate(entry, where=f"{config}: chat_template")


class _GenerationBlock(jinja2.ext.Extension):
    """`{% generation %} … {% endgeneration %}` marks the assistant's tokens for training."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def _environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern)
