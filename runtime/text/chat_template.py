"""Chat messages to the text of a prompt, by the model's own Jinja template, in a sandbox.

The environment is the one that `transformers.apply_chat_template` gives a template: the functions
`raise_exception` and `strftime_now`, a `tojson` that does not escape HTML, loop controls, and the
`generation` block as a no-op.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingot.errors import ArtifactError, RequestError

if TYPE_CHECKING:
    import jinja2

TEMPLATE_FILE = "chat_template.jinja"
CONFIG_FILE = "tokenizer_config.json"

Message = Mapping[str, Any]


class ChatTemplate:
    """One template.  `render` runs code of the checkpoint, without access to anything.

    It is compiled when it is first needed, as Jinja takes longer to load than a small model to
    answer; `check` does so at once.
    """

    def __init__(self, source: str, *, where: str = TEMPLATE_FILE) -> None:
        self._source, self._where = source, where

    def check(self) -> None:
        """Raise ArtifactError where the template is not valid."""
        assert self._template is not None

    @cached_property
    def _template(self) -> "jinja2.Template":
        import jinja2

        from .chat_environment import make_environment

        try:
            return make_environment().from_string(self._source)
        except jinja2.TemplateError as error:
            raise ArtifactError(
                f"the chat template is not valid: {error}",
                where=self._where,
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
        template = self._template
        import jinja2

        try:
            return template.render(values)
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
