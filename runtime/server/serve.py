"""The daemon: one socket, one event loop, one engine."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from ingot.errors import IngotError
from ingot.runtime.llm import LLM

from .app import create_app
from .metrics import Metrics
from .options import ServerOptions


def bind(options: ServerOptions) -> socket.socket:
    """Take the address; done before the model is loaded, so that a busy port is known at once.

    Clients are refused until `serve` listens.  Raises `IngotError`.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
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
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests end; closes the model.

    `ready` is called with the URL once connections are accepted.
    """
    server = _Server(
        uvicorn.Config(
            create_app(model, options, metrics),
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=max(1, round(options.drain_seconds)),
        )
    )
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    try:
        asyncio.run(_run(server, listener, lambda: ready(url)))
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
    """Ends with a return where uvicorn would end with the signal that it was sent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        kinds = (signal.SIGINT, signal.SIGTERM)
        loop = asyncio.get_running_loop()
        for kind in kinds:
            loop.add_signal_handler(kind, self.handle_exit, kind, None)
        try:
            yield
        finally:
            for kind in kinds:
                loop.remove_signal_handler(kind)
