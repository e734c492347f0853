"""The body of a request: its size, its JSON, its fields."""

import json
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from .errors import ApiError

Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: Request, model: type[Model], max_bytes: int) -> Model:
    """Read, parse and check a JSON body; raises `ApiError` 400 or 413."""
    try:
        value = json.loads(await _read_limited(request, max_bytes))
    except ClientDisconnect as error:
        raise ApiError(400, "The client went away before its request was complete.") from error
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ApiError(400, "The body must be a JSON object.")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _field_error(error) from error


async def _read_limited(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise ApiError(413, f"The body is longer than {max_bytes} bytes.")
    return bytes(body)


def _field_error(error: ValidationError) -> ApiError:
    """Name the first field that is wrong; the value is not repeated, it may be long or secret."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    return ApiError(400, f"{param}: {first['msg']}" if param else first["msg"], param=param or None)
