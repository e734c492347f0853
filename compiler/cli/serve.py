"""Serve a model over HTTP, as OpenAI's interface has it."""

import argparse
import json
import logging
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ingot import knobs
from ingot.errors import UsageError
from ingot.runtime import LLM
from ingot.runtime.engine import EngineOptions
from ingot.runtime.server import Metrics, ServerOptions, bind, serve
from ingot.runtime.text import ChatTemplate

from .model_options import add_model_arguments, executor_options

HELP = "serve a model over HTTP, as OpenAI's interface has it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ingot serve`."""
    default, engine = ServerOptions(), EngineOptions()
    add_model_arguments(parser)
    parser.add_argument("--host", default=default.host, help=f"default: {default.host}")
    parser.add_argument("--port", type=int, default=default.port, help=f"default: {default.port}")
    parser.add_argument(
        "--served-model-name", nargs="+", default=[], metavar="NAME", help="default: the artifact's"
    )
    parser.add_argument("--api-key", metavar="KEY", help="ask clients for this key")
    parser.add_argument(
        "--max-num-seqs",
        type=int,
        default=engine.max_running,
        metavar="N",
        help=f"requests in one step (default: {engine.max_running})",
    )
    parser.add_argument(
        "--max-waiting",
        type=int,
        default=default.max_waiting,
        metavar="N",
        help=f"requests queued before new ones are answered 429 (default: {default.max_waiting})",
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=default.drain_seconds,
        metavar="S",
        help=f"for running requests after SIGTERM (default: {default.drain_seconds:g})",
    )
    parser.add_argument("--chat-template", metavar="FILE", help="instead of the model's own")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    level = logging.INFO if knobs.DEBUG.get() else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    options = ServerOptions(
        host=arguments.host,
        port=arguments.port,
        served_model_names=tuple(arguments.served_model_name),
        api_key=arguments.api_key,
        max_waiting=arguments.max_waiting,
        drain_seconds=arguments.drain_seconds,
    )
    listener = bind(options)
    name = options.served_model_names[0] if options.served_model_names else ""
    metrics = Metrics(name or Path(arguments.artifact).name.removesuffix(".ingot"))
    model = LLM(
        arguments.artifact,
        arguments.threads,
        options=EngineOptions(
            max_running=arguments.max_num_seqs, max_length=arguments.max_model_len
        ),
        observer=metrics,
        **executor_options(arguments),
    )
    if arguments.chat_template is not None:
        template = _read_template(Path(arguments.chat_template))
        model.text = replace(model.text, chat_template=template)
    if model.text.chat_template is not None:
        model.text.chat_template.check()
    serve(model, options, metrics, listener, ready=_announce(model, name or model.name, options))
    return 0


def _read_template(path: Path) -> ChatTemplate:
    try:
        return ChatTemplate(path.read_text(encoding="utf-8"), where=str(path))
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", where="--chat-template", hint="Give a readable file."
        ) from error


def _announce(
    model: LLM, name: str, options: ServerOptions
) -> Callable[[str, Callable[[], None]], None]:
    """Say where the daemon is, with a command that it answers."""
    question = "What is the capital of France?"
    request: dict[str, object] = {"model": name, "max_tokens": 64}
    if model.task == "embed":
        path, body = "embeddings", json.dumps({"model": name, "input": question})
    elif model.task == "classify":
        documents = ["Paris is the capital of France.", "Cats sleep most of the day."]
        request = {"model": name, "query": question, "documents": documents}
        path, body = "rerank", json.dumps(request)
    elif model.text.chat_template is not None:
        path, message = "chat/completions", {"role": "user", "content": question}
        body = json.dumps({**request, "messages": [message]})
    else:
        path, body = "completions", json.dumps({**request, "prompt": question})
    key = shlex.quote(f"Authorization: Bearer {options.api_key}")
    key = f" -H {key}" if options.api_key else ""

    def announce(url: str, stop: Callable[[], None]) -> None:
        print(f"Serving {name} on {url}; try\n", flush=True)
        print(f"curl {url}/v1/{path} -H 'Content-Type: application/json'{key} \\", flush=True)
        print(f"  -d {shlex.quote(body)}\n", flush=True)

    return announce
