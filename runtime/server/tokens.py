"""/tokenize and /detokenize, with vLLM's fields."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingot.runtime.engine.intake import check_token_ids

from .body import read_body
from .chat_schema import ChatMessage
from .errors import ApiError
from .state import ServerState, state_of


class TokenizeRequest(BaseModel):
    """Either `prompt` or `messages`."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    add_special_tokens: bool = True
    add_generation_prompt: bool = True
    return_token_strs: bool = False


class DetokenizeRequest(BaseModel):
    """`tokens` are ids."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    tokens: list[int]


async def tokenize(request: Request) -> Response:
    """Return the token ids of a text or a conversation."""
    state = state_of(request)
    body = await read_body(request, TokenizeRequest, state.options.max_body_bytes)
    state.check_model(body.model)
    tokens = await run_in_threadpool(_encode, state, body)
    tokenizer = state.model.text.require_tokenizer()
    content: dict[str, Any] = {
        "count": len(tokens),
        "max_model_len": state.model.engine.max_length,
        "tokens": tokens,
        "token_strs": None,
    }
    if body.return_token_strs:
        content["token_strs"] = [tokenizer.token_text(token) for token in tokens]
    return JSONResponse(content)


async def detokenize(request: Request) -> Response:
    """Return the text of token ids, special tokens included."""
    state = state_of(request)
    body = await read_body(request, DetokenizeRequest, state.options.max_body_bytes)
    state.check_model(body.model)
    check_token_ids("tokens", body.tokens, state.model.engine.limits)
    text = state.model.text.require_tokenizer().decode(body.tokens, skip_special_tokens=False)
    return JSONResponse({"prompt": text})


def _encode(state: ServerState, body: TokenizeRequest) -> list[int]:
    text = state.model.text
    if (body.prompt is None) == (body.messages is None):
        raise ApiError(400, "Give either prompt or messages.", param="prompt")
    if body.prompt is not None:
        tokenizer = text.require_tokenizer()
        return tokenizer.encode(body.prompt, add_special_tokens=body.add_special_tokens)
    messages = [message.for_template() for message in body.messages or []]
    return text.encode_chat(messages, add_generation_prompt=body.add_generation_prompt)
