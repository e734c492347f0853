"""What a user can set about the daemon."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """All have defaults that suit one machine and one user."""

    host: str = "127.0.0.1"
    port: int = 8000
    served_model_names: tuple[str, ...] = ()
    """Names that clients may use; none: the name of the artifact."""
    api_key: str | None = None
    """If set, requests must carry `Authorization: Bearer KEY`; health and metrics are open."""
    max_waiting: int = 256
    """Requests beyond those that run; one more is answered 429."""
    max_body_bytes: int = 8 << 20
    """A longer body is answered 413."""
    drain_seconds: float = 60.0
    """After SIGTERM, how long running requests may take to end."""
