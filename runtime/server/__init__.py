"""The daemon: OpenAI's HTTP interface to one model.  The only asynchronous code of the runtime."""

from .app import create_app
from .metrics import Metrics
from .options import ServerOptions
from .serve import bind, serve

__all__ = ["Metrics", "ServerOptions", "bind", "create_app", "serve"]
