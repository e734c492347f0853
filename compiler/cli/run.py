"""Ask a model once, or chat with it in the terminal."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

from ingot.runtime import LLM, SamplingParams
from ingot.runtime.engine import EngineOptions

from .model_options import (
    add_model_arguments,
    add_sampling_arguments,
    executor_options,
    sampling_params,
)

HELP = "ask a model once, or chat with it in the terminal"
MAX_TOKENS = 512

Messages = list[dict[str, str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ingot run`."""
    add_model_arguments(parser)
    parser.add_argument(
        "prompt", metavar="PROMPT", nargs="?", help="default: standard input, or a chat"
    )
    parser.add_argument("--system", metavar="TEXT", help="a system message before the chat")
    parser.add_argument(
        "--raw", action="store_true", help="continue the prompt as it is, without chat template"
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=MAX_TOKENS,
        metavar="N",
        help=f"of each answer (default: {MAX_TOKENS})",
    )
    add_sampling_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Answer on standard output, as the tokens come."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    model = LLM(
        arguments.artifact,
        arguments.threads,
        options=EngineOptions(max_length=arguments.max_model_len),
        **executor_options(arguments),
    )
    with model:
        model.require("generate")
        params = sampling_params(arguments, model.default_params)
        params = replace(params, max_tokens=arguments.max_tokens)
        chats = model.text.chat_template is not None and not arguments.raw
        history = [{"role": "system", "content": arguments.system}] if arguments.system else []
        for prompt in _prompts(arguments.prompt):
            if chats:
                history.append({"role": "user", "content": prompt})
            answer = _print_answer(model, history if chats else prompt, params)
            history.append({"role": "assistant", "content": answer})
    return 0


def _prompts(prompt: str | None) -> Iterator[str]:
    """The one that was given, all of standard input, or line after line from the terminal."""
    if prompt is not None:
        yield prompt
    elif not sys.stdin.isatty():
        yield sys.stdin.read().removesuffix("\n")
    else:
        import readline  # noqa: F401  # makes `input` a line editor

        print("End with Ctrl-D; Ctrl-C ends an answer.", file=sys.stderr)
        while True:
            try:
                line = input("> ")
            except EOFError:
                print()
                return
            if line.strip():
                yield line


def _print_answer(model: LLM, prompt: str | Messages, params: SamplingParams) -> str:
    """Print an answer as it comes and return it; in a terminal, Ctrl-C ends it early."""
    answer = ""
    stream = model.stream(prompt, params)
    try:
        for text in stream:
            print(text, end="", flush=True)
            answer += text
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            raise
    print(flush=True)
    return answer
