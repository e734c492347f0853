"""What the endpoints share."""

import time
import uuid
from dataclasses import dataclass, field

from starlette.requests import Request

from ingot.runtime.engine import Sink
from ingot.runtime.llm import LLM
from ingot.runtime.sampling import SamplingParams

from .calls import Admission
from .errors import ApiError
from .metrics import Metrics
from .options import ServerOptions

Generation = tuple[list[int], SamplingParams]


@dataclass(frozen=True)
class ServerState:
    """One model and its names."""

    model: LLM
    options: ServerOptions
    metrics: Metrics
    admission: Admission
    names: tuple[str, ...]
    created: int = field(default_factory=lambda: int(time.time()))

    def generate(self, request: Generation, sink: Sink) -> int:
        """Queue one request for tokens, for `Calls`."""
        tokens, params = request
        return self.model.submit(tokens, params, sink)

    def generate_whole(self, request: Generation, sink: Sink) -> int:
        """As `generate`, for an answer that is sent when it is complete."""
        tokens, params = request
        return self.model.submit(tokens, params, sink, eager=False)

    def check_model(self, name: str | None) -> str:
        """Return the name to answer with; `ApiError` 404 for a model that is not here."""
        if name is None:
            return self.names[0]
        if name not in self.names:
            raise ApiError(
                404,
                f"The model {name!r} does not exist. Here is: {', '.join(self.names)}.",
                param="model",
                code="model_not_found",
            )
        return name


def state_of(request: Request) -> ServerState:
    """The state of the application that `request` came to."""
    state = request.app.state.server
    assert isinstance(state, ServerState)
    return state


def new_id(prefix: str) -> str:
    """A fresh id such as `chatcmpl-…`."""
    return f"{prefix}-{uuid.uuid4().hex}"


def usage(prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> dict[str, object]:
    """The `usage` of an answer."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }
