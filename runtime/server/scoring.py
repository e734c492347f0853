"""/v1/rerank and /v1/score: how well texts go together."""

import time
from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingot.runtime.text.pooled_text import Tokens

from .body import read_body
from .embeddings import token_usage
from .pooled_calls import rows_of
from .pooled_schema import RerankRequest, ScoreRequest
from .state import ServerState, new_id, state_of


async def rerank(request: Request) -> Response:
    """Return the documents in the order in which they answer the query, with their scores."""
    state = state_of(request)
    body = await read_body(request, RerankRequest, state.options.max_body_bytes)
    name = state.check_model(body.model)
    documents = body.texts()
    scored = await _scores(request, state, [body.query] * len(documents), documents)
    if isinstance(scored, Response):
        return scored
    scores, sequences = scored
    order = sorted(range(len(scores)), key=lambda index: -scores[index])[: body.top_n]
    results = [
        {"index": index, "relevance_score": scores[index]}
        | ({"document": {"text": documents[index]}} if body.return_documents else {})
        for index in order
    ]
    return JSONResponse(
        {
            "id": new_id("rerank"),
            "model": name,
            "usage": token_usage(sequences),
            "results": results,
        }
    )


async def score(request: Request) -> Response:
    """Return the score of each pair, in their order."""
    state = state_of(request)
    body = await read_body(request, ScoreRequest, state.options.max_body_bytes)
    name = state.check_model(body.model)
    scored = await _scores(request, state, *body.pairs())
    if isinstance(scored, Response):
        return scored
    scores, sequences = scored
    return JSONResponse(
        {
            "id": new_id("score"),
            "object": "list",
            "created": int(time.time()),
            "model": name,
            "data": [
                {"index": index, "object": "score", "score": value}
                for index, value in enumerate(scores)
            ],
            "usage": token_usage(sequences),
        }
    )


async def _scores(
    request: Request, state: ServerState, queries: Sequence[str], documents: Sequence[str]
) -> tuple[list[float], list[Tokens]] | Response:
    """Return the score of each pair and what was computed for it."""
    pooled = state.model.pooled
    comparison = await run_in_threadpool(pooled.comparison, queries, documents)
    rows = await rows_of(request, state, pooled, comparison.sequences)
    if isinstance(rows, Response):
        return rows
    return comparison.scores(rows).tolist(), comparison.sequences
