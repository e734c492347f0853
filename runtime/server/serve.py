"""The daemon: one socket, one event loop, one engine."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from ingot.errors import IngotError
from ingot.runtime.llm import LLM

from .app import create_app
from .metrics import Metrics
from .options import ServerOptions

LAST_SECONDS = 5
"""After the time to drain, for the last answers to reach their clients."""
Ready = Callable[[str, Callable[[], None]], None]
"""Takes the URL, and a function that does what SIGTERM does, for any thread."""


def bind(options: ServerOptions) -> socket.socket:
    """Take the address; done before the model is loaded, so that a busy port is known at once.

    Clients are refused until `serve` listens.  Raises `IngotError`.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.ExitStack() as on_failure:
            listener = on_failure.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            on_failure.pop_all()
    except OSError as error:
        raise IngotError(
            f"cannot be bound: {error.strerror}",
            where=f"{options.host}:{options.port}",
            hint="Choose another address with --host and --port, or stop what uses it.",
        ) from error
    return listener


def serve(
    model: LLM,
    options: ServerOptions,
    metrics: Metrics,
    listener: socket.socket,
    *,
    ready: Ready = lambda url, stop: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests end; closes the model.

    `ready` is called once connections are accepted.
    """
    config = uvicorn.Config(
        create_app(model, options, metrics),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=round(options.drain_seconds) + LAST_SECONDS,
    )
    server = _Server(config, options.drain_seconds, model.engine.close)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    try:
        asyncio.run(_run(server, listener, lambda: ready(url, server.stop)))
    finally:
        model.close()


async def _run(server: "_Server", listener: socket.socket, ready: Callable[[], None]) -> None:
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    if server.started:
        ready()
    await task


class _Server(uvicorn.Server):
    """Ends with a return where uvicorn would end with the signal that it was sent.

    After `drain_seconds`, `end_requests` ends what is still running, with an answer that says so.
    """

    def __init__(
        self, config: uvicorn.Config, drain_seconds: float, end_requests: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._drain_seconds, self._end_requests = drain_seconds, end_requests

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._drain_seconds, self._end_requests)
        await super().shutdown(sockets)
        timer.cancel()

    def stop(self) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = (signal.SIGINT, signal.SIGTERM)
        loop = asyncio.get_running_loop()
        for kind in kinds:
            loop.add_signal_handler(kind, self.handle_exit, kind, None)
        try:
            yield
        finally:
            for kind in kinds:
                loop.remove_signal_handler(kind)
