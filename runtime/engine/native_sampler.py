"""The native sampler behind the engine's protocol."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ingot.runtime import _native

from .outputs import TokenLogprob
from .request import Request
from .sampler import Sampled


class NativeSampler:
    """Samples the rows of a step in one call, on `threads` threads."""

    def __init__(self, vocab_size: int, threads: int = 1) -> None:
        self._vocab_size = vocab_size
        self._native = _native.Sampler(threads)

    def sample(self, logits: NDArray[np.float32], requests: Sequence[Request]) -> list[Sampled]:
        """As `Sampler.sample`; raises `ValueError` for a row without a finite maximum."""
        states = [self.state_of(request) for request in requests]
        return [sampled_of(item) for item in self._native.sample(states, logits)]

    def state_of(self, request: Request) -> _native.SamplerState:
        """The counts of the request's tokens, brought up to date."""
        state = request.sampler_state
        if state is None:
            prompt = np.array(request.tokens[: request.num_prompt], dtype=np.int32)
            state = _native.SamplerState(_params(request), self._vocab_size, prompt)
            request.sampler_state = state
        assert isinstance(state, _native.SamplerState)
        for token in request.tokens[request.num_prompt + state.observed :]:
            state.observe(token)
        return state


def sampled_of(item: _native.Sampled) -> Sampled:
    """Return what the engine knows a sampled token as."""
    return Sampled(item.token, None if item.logprob is None else _logprob(item))


def _params(request: Request) -> _native.SamplerParams:
    params = request.params
    return _native.SamplerParams(
        temperature=params.temperature,
        top_k=max(params.top_k, 0),
        top_p=params.top_p,
        min_p=params.min_p,
        repetition_penalty=params.repetition_penalty,
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
        logit_bias=list(params.logit_bias.items()),
        seed=request.seed,
        logprobs=params.logprobs,
    )


def _logprob(sampled: _native.Sampled) -> TokenLogprob:
    assert sampled.logprob is not None
    return TokenLogprob(sampled.token, sampled.logprob, tuple(sampled.top))
