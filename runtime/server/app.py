"""The application: its paths, its errors, and what every request passes first."""

import hmac
import uuid

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingot.errors import RequestError
from ingot.runtime.llm import LLM

from .calls import Admission
from .chat import chat_completions
from .completions import completions
from .embeddings import embeddings
from .errors import (
    ApiError,
    error_response,
    handle_api_error,
    handle_bug,
    handle_http_error,
    handle_request_error,
)
from .metrics import Metrics
from .options import ServerOptions
from .scoring import rerank, score
from .state import ServerState, state_of
from .tokens import detokenize, tokenize

OPEN_PATHS = frozenset({"/health", "/metrics"})
RERANK_PATHS = ("/v1/rerank", "/v2/rerank", "/rerank")
SCORE_PATHS = ("/v1/score", "/score")


def create_app(model: LLM, options: ServerOptions, metrics: Metrics) -> ASGIApp:
    """The ASGI application that serves `model`; `metrics` is the observer of its engine."""
    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/metrics", metrics_text),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", one_model),
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/embeddings", embeddings, methods=["POST"]),
            *(Route(path, rerank, methods=["POST"]) for path in RERANK_PATHS),
            *(Route(path, score, methods=["POST"]) for path in SCORE_PATHS),
            Route("/tokenize", tokenize, methods=["POST"]),
            Route("/detokenize", detokenize, methods=["POST"]),
        ],
        exception_handlers={
            ApiError: handle_api_error,
            RequestError: handle_request_error,
            HTTPException: handle_http_error,
            Exception: handle_bug,
        },
    )
    limit = model.engine.scheduler.max_running + options.max_waiting
    names = options.served_model_names or (model.name,)
    app.state.server = ServerState(model, options, metrics, Admission(limit), names)
    return _Entrance(app, options.api_key)


async def health(request: Request) -> Response:
    """200 while requests are answered, 503 afterwards."""
    return Response(status_code=200 if state_of(request).model.alive else 503)


async def metrics_text(request: Request) -> Response:
    """Prometheus' text format."""
    text = state_of(request).metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def models(request: Request) -> Response:
    """The names of the one model."""
    state = state_of(request)
    data = [_model_entry(state, name) for name in state.names]
    return JSONResponse({"object": "list", "data": data})


async def one_model(request: Request) -> Response:
    """One name of it."""
    state = state_of(request)
    return JSONResponse(_model_entry(state, state.check_model(request.path_params["name"])))


def _model_entry(state: ServerState, name: str) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": state.created,
        "owned_by": "ingot",
        "root": state.model.name,
        "parent": None,
        "max_model_len": state.model.max_length,
        "task": state.model.task,
    }


class _Entrance:
    """Checks the key, and gives every answer an `X-Request-Id`: the client's, or a new one."""

    def __init__(self, app: ASGIApp, api_key: str | None) -> None:
        self._app, self._api_key = app, api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = headers.get("x-request-id") or uuid.uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        if scope["path"] in OPEN_PATHS or self._admits(headers.get("authorization", "")):
            await self._app(scope, receive, send_with_id)
        else:
            error = ApiError(401, "The API key is missing or wrong.", code="invalid_api_key")
            await error_response(error)(scope, receive, send_with_id)

    def _admits(self, authorization: str) -> bool:
        if self._api_key is None:
            return True
        expected = f"Bearer {self._api_key}".encode()
        return hmac.compare_digest(authorization.encode(), expected)
