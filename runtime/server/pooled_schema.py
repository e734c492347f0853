"""The bodies of /v1/embeddings, /v1/rerank and /v1/score."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .errors import ApiError

Input = str | list[str] | list[int] | list[list[int]]


class _Body(BaseModel):
    """Fields that are not known are let through unread."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    model: str | None = None


class EmbeddingRequest(_Body):
    """OpenAI's fields, and `prompt_name`: one of the prompts that the model was trained with."""

    input: Input
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    prompt_name: str | None = None

    def texts(self) -> list[str | list[int]]:
        """The inputs, each a text or the model's own token ids."""
        given = self.input
        if isinstance(given, str):
            return [given]
        if not given:
            raise ApiError(400, "input: is empty.", param="input")
        if isinstance(given[0], int):
            return [[one for one in given if isinstance(one, int)]]
        return [one for one in given if not isinstance(one, int)]


class Document(BaseModel):
    """A document as some clients send it."""

    text: str


class RerankRequest(_Body):
    """The fields of Jina's and Cohere's interfaces."""

    query: str
    documents: list[str | Document] = Field(min_length=1)
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = True

    def texts(self) -> list[str]:
        """The documents' texts."""
        return [one if isinstance(one, str) else one.text for one in self.documents]


class ScoreRequest(_Body):
    """vLLM's fields: one text against several, or several one by one."""

    text_1: str | list[str]
    text_2: str | list[str]

    def pairs(self) -> tuple[list[str], list[str]]:
        """The two texts of each pair, as two lists of one length."""
        first = [self.text_1] if isinstance(self.text_1, str) else self.text_1
        second = [self.text_2] if isinstance(self.text_2, str) else self.text_2
        if len(first) == 1:
            first = first * len(second)
        if len(first) != len(second) or not second:
            raise ApiError(
                400,
                f"text_1: {len(first)} texts for {len(second)} of text_2. Give one, or as many.",
                param="text_1",
            )
        return first, second
