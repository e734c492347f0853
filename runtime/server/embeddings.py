"""/v1/embeddings."""

import base64
from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingot.runtime.pooled import Rows
from ingot.runtime.text.pooled_text import Tokens

from .body import read_body
from .pooled_calls import rows_of
from .pooled_schema import EmbeddingRequest
from .state import state_of


async def embeddings(request: Request) -> Response:
    """Return the embedding of each input, in their order."""
    state = state_of(request)
    body = await read_body(request, EmbeddingRequest, state.options.max_body_bytes)
    name = state.check_model(body.model)
    state.model.require("embed")
    pooled = state.model.pooled
    texts = body.texts()
    sequences = await run_in_threadpool(pooled.texts, texts, body.prompt_name)
    pooled.check_dimensions(body.dimensions)
    rows = await rows_of(request, state, pooled, sequences)
    if isinstance(rows, Response):
        return rows
    rows = pooled.shorten(rows, body.dimensions)
    return JSONResponse(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": embedding}
                for index, embedding in enumerate(_encoded(rows, body.encoding_format))
            ],
            "model": name,
            "usage": token_usage(sequences),
        }
    )


def _encoded(rows: Rows, form: str) -> Sequence[object]:
    """Return each row as a list of numbers, or as base64 of its little-endian float32."""
    if form == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows]
    encoded: list[object] = rows.tolist()
    return encoded


def token_usage(sequences: Sequence[Tokens]) -> dict[str, int]:
    """The `usage` of an answer without generated tokens."""
    count = sum(len(one.ids) for one in sequences)
    return {"prompt_tokens": count, "total_tokens": count}
