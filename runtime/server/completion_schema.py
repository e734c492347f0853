"""The body of /v1/completions."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from .errors import ApiError
from .schema import GenerationRequest

MAX_PROMPTS = 256
DEFAULT_MAX_TOKENS = 16


class CompletionRequest(GenerationRequest):
    """OpenAI's older request: a prompt is a text or token ids; several prompts may be given."""

    prompt: str | list[int] | list[str] | list[list[int]]
    logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: bool = False
    best_of: int | None = None
    suffix: str | None = None

    def unsupported(self) -> Mapping[str, Any]:
        return {
            "echo": self.echo,
            "suffix": self.suffix,
            "best_of": self.best_of is not None and self.best_of != self.n,
        }

    def prompts(self) -> list[str | list[int]]:
        """The prompts, one or several."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and all(isinstance(token, int) for token in self.prompt):
            return [self.prompt]  # type: ignore[list-item]
        if not 0 < len(self.prompt) <= MAX_PROMPTS:
            raise ApiError(400, f"prompt: give 1 to {MAX_PROMPTS} prompts.", param="prompt")
        return list(self.prompt)  # type: ignore[arg-type]
