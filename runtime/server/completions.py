"""/v1/completions."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingot.runtime.engine import TokenLogprob
from ingot.runtime.text import Tokenizer

from .body import read_body
from .calls import Calls
from .completion_schema import DEFAULT_MAX_TOKENS, CompletionRequest
from .gather import Choice, gather, total_tokens
from .logprobs import completion_logprobs
from .state import new_id, state_of, usage
from .stream import EventStream, answer


async def completions(request: Request) -> Response:
    """Complete one prompt or several, at once or as a stream of server-sent events."""
    state = state_of(request)
    body = await read_body(request, CompletionRequest, state.options.max_body_bytes)
    name = state.check_model(body.model)
    body.check_supported()
    state.model.require("generate")
    text = state.model.text
    prompts = await run_in_threadpool(lambda: [text.encode(prompt) for prompt in body.prompts()])
    params = body.params(
        state.model.default_params,
        max_tokens=DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens,
        logprobs=body.logprobs,
    )
    requests = [(prompt, each) for prompt in prompts for each in params]
    submit = state.generate if body.stream else state.generate_whole
    calls = Calls(state.model, state.admission, requests, submit)
    head = {
        "id": new_id("cmpl"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": name,
    }
    num_prompt = sum(map(len, prompts))
    reply = _Reply(head, num_prompt, len(requests), body.include_usage, text.tokenizer)
    if body.stream:
        return EventStream(calls, reply.events(calls))
    return await answer(request, calls, reply.whole(calls))


class _Reply:
    """The shapes of one answer, whole or in events."""

    def __init__(
        self,
        head: dict[str, Any],
        num_prompt: int,
        count: int,
        include_usage: bool,
        tokenizer: Tokenizer | None,
    ) -> None:
        self._head, self._num_prompt, self._count = head, num_prompt, count
        self._include_usage, self._tokenizer = include_usage, tokenizer

    async def whole(self, calls: Calls) -> Response:
        choices = await gather(calls, self._count)
        shaped = [
            self._choice(index, choice.text, choice.finish_reason, choice.logprobs, 0)
            for index, choice in enumerate(choices)
        ]
        return JSONResponse({**self._head, "choices": shaped, "usage": self._usage(choices)})

    async def events(self, calls: Calls) -> AsyncIterator[dict[str, Any]]:
        choices = [Choice() for _ in range(self._count)]
        more = {"usage": None} if self._include_usage else {}
        async for index, output in calls.news():
            offset = len(choices[index].text)
            choices[index].add(output)
            reason = output.finish_reason and output.finish_reason.value
            if output.text or output.logprobs or reason:
                choice = self._choice(index, output.text, reason, output.logprobs, offset)
                yield {**self._head, "choices": [choice], **more}
        if self._include_usage:
            yield {**self._head, "choices": [], "usage": self._usage(choices)}

    def _usage(self, choices: Sequence[Choice]) -> dict[str, object]:
        cached = sum(choice.num_cached for choice in choices)
        return usage(self._num_prompt, total_tokens(choices), min(cached, self._num_prompt))

    def _choice(
        self,
        index: int,
        text: str,
        reason: str | None,
        logprobs: Sequence[TokenLogprob],
        offset: int,
    ) -> dict[str, Any]:
        shaped = None
        if logprobs and self._tokenizer is not None:
            shaped = completion_logprobs(logprobs, self._tokenizer, offset)
        return {"index": index, "text": text, "logprobs": shaped, "finish_reason": reason}
