"""Errors as OpenAI's clients expect them: `{"error": {"message", "type", "param", "code"}}`."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingot.errors import RequestError

log = logging.getLogger("ingot.server")

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}


class ApiError(Exception):
    """An answer other than 200; `param` names the field of the request, if it is one's fault."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = headers

    @staticmethod
    def of(error: RequestError) -> "ApiError":
        """The answer to a request that the engine refuses."""
        message = f"{error.where}: {error.message}" if error.where else error.message
        if error.hint:
            message = f"{message}. {error.hint}"
        return ApiError(400, message, param=error.where or None)


def error_body(error: ApiError) -> dict[str, object]:
    """The JSON of an error."""
    return {
        "error": {
            "message": error.message,
            "type": _TYPES.get(error.status, "server_error"),
            "param": error.param,
            "code": error.code,
        }
    }


def error_response(error: ApiError) -> JSONResponse:
    """The HTTP response of an error."""
    return JSONResponse(error_body(error), status_code=error.status, headers=error.headers)


async def handle_api_error(request: Request, error: Exception) -> Response:
    """Answer an `ApiError`."""
    assert isinstance(error, ApiError)
    return error_response(error)


async def handle_request_error(request: Request, error: Exception) -> Response:
    """Answer a `RequestError`."""
    assert isinstance(error, RequestError)
    return error_response(ApiError.of(error))


async def handle_http_error(request: Request, error: Exception) -> Response:
    """Answer what Starlette refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return error_response(ApiError(error.status_code, message, headers=dict(error.headers or {})))


async def handle_bug(request: Request, error: Exception) -> Response:
    """Answer anything else, a bug of ours; the traceback goes to the log."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(ApiError(500, "Internal error; the server's log has the details."))
