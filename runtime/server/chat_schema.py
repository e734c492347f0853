"""The body of /v1/chat/completions."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from .errors import ApiError
from .schema import GenerationRequest


class ContentPart(BaseModel):
    """One part of a message's content; only text is understood."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: str | None = None


class ChatMessage(BaseModel):
    """One message; fields beyond these go to the chat template as they are."""

    model_config = ConfigDict(extra="allow")

    role: str
    content: str | list[ContentPart] | None = None

    def for_template(self) -> dict[str, Any]:
        """The message with its content as one string, the parts on lines of their own."""
        return {**self.model_dump(exclude_unset=True), "content": self._text()}

    def _text(self) -> str | None:
        if not isinstance(self.content, list):
            return self.content
        for part in self.content:
            if part.type != "text" or part.text is None:
                raise ApiError(400, f"This model reads text, not {part.type!r}.", param="messages")
        return "\n".join(part.text or "" for part in self.content)


class ChatRequest(GenerationRequest):
    """OpenAI's chat request; `max_completion_tokens` is the newer name of `max_tokens`."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = None
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    add_generation_prompt: bool = True
    chat_template_kwargs: dict[str, Any] | None = None
    documents: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    audio: dict[str, Any] | None = None

    def unsupported(self) -> Mapping[str, Any]:
        wants_text = self.response_format is None or self.response_format.get("type") == "text"
        return {
            "tools": self.tools and self.tool_choice != "none",
            "functions": self.functions,
            "response_format": not wants_text,
            "audio": self.audio,
            "top_logprobs (without logprobs)": self.top_logprobs and not self.logprobs,
        }
