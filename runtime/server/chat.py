"""/v1/chat/completions."""

import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingot.runtime.text import Tokenizer

from .body import read_body
from .calls import Calls
from .chat_schema import ChatRequest
from .gather import Choice, gather, total_tokens
from .logprobs import chat_logprobs
from .state import ServerState, new_id, state_of, usage
from .stream import EventStream, answer


async def chat_completions(request: Request) -> Response:
    """Answer a conversation, at once or as a stream of server-sent events."""
    state = state_of(request)
    body = await read_body(request, ChatRequest, state.options.max_body_bytes)
    name = state.check_model(body.model)
    body.check_supported()
    state.model.require("generate")
    prompt = await run_in_threadpool(_encode, state, body)
    defaults = state.model.default_params
    asked = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    params = body.params(
        defaults,
        max_tokens=defaults.max_tokens if asked is None else asked,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
    )
    requests = [(prompt, each) for each in params]
    submit = state.generate if body.stream else state.generate_whole
    calls = Calls(state.model, state.admission, requests, submit)
    head = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": name}
    tokenizer = state.model.text.require_tokenizer()
    if body.stream:
        return EventStream(calls, _events(calls, body, head, len(prompt), tokenizer))
    return await answer(request, calls, _whole(calls, body, head, len(prompt), tokenizer))


def _encode(state: ServerState, body: ChatRequest) -> list[int]:
    return state.model.text.encode_chat(
        [message.for_template() for message in body.messages],
        tools=body.tools,
        documents=body.documents,
        add_generation_prompt=body.add_generation_prompt,
        **(body.chat_template_kwargs or {}),
    )


async def _whole(
    calls: Calls, body: ChatRequest, head: dict[str, Any], num_prompt: int, tokenizer: Tokenizer
) -> Response:
    choices = await gather(calls, body.n)
    content = {
        **head,
        "object": "chat.completion",
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text},
                "logprobs": chat_logprobs(choice.logprobs, tokenizer) if body.logprobs else None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ],
        "usage": usage(num_prompt, total_tokens(choices), choices[0].num_cached),
    }
    return JSONResponse(content)


async def _events(
    calls: Calls, body: ChatRequest, head: dict[str, Any], num_prompt: int, tokenizer: Tokenizer
) -> AsyncIterator[dict[str, Any]]:
    head = {**head, "object": "chat.completion.chunk"}
    choices = [Choice() for _ in range(body.n)]

    def event(index: int, delta: dict[str, str], **rest: object) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **rest}
        return {**head, "choices": [choice]} | ({"usage": None} if body.include_usage else {})

    for index in range(body.n):
        yield event(index, {"role": "assistant", "content": ""})
    async for index, output in calls.news():
        choices[index].add(output)
        logprobs = chat_logprobs(output.logprobs, tokenizer) if body.logprobs else None
        if output.text or logprobs:
            yield event(index, {"content": output.text}, logprobs=logprobs)
        if output.finish_reason is not None:
            yield event(index, {}, finish_reason=output.finish_reason.value)
    if body.include_usage:
        counts = usage(num_prompt, total_tokens(choices), choices[0].num_cached)
        yield {**head, "choices": [], "usage": counts}
