"""The whole outputs of calls, for answers that are not streamed, and the counts for all."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ingot.runtime.engine import Output, TokenLogprob

from .calls import Calls


@dataclass
class Choice:
    """What one call has said so far."""

    text: str = ""
    num_tokens: int = 0
    num_cached: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, output: Output) -> None:
        """Add the news of one step."""
        self.text += output.text
        self.num_tokens += len(output.token_ids)
        self.num_cached = output.num_cached_tokens
        self.logprobs += output.logprobs
        if output.finish_reason is not None:
            self.finish_reason = output.finish_reason.value


async def gather(calls: Calls, count: int) -> list[Choice]:
    """Wait for the end of all `count` calls."""
    choices = [Choice() for _ in range(count)]
    async for index, output in calls.news():
        choices[index].add(output)
    return choices


def total_tokens(choices: Sequence[Choice]) -> int:
    """Tokens generated, over all choices."""
    return sum(choice.num_tokens for choice in choices)
