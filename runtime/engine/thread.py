"""An engine in a thread of its own."""

import threading

from .engine import Engine


class EngineThread:
    """Runs `engine.serve` until `close`; the engine's `submit` and `cancel` serve its users."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._thread = threading.Thread(target=engine.serve, name="ingot-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests are still being answered."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Cancel what is left, release the device and wait for that.  Idempotent."""
        self.engine.close()
        if self._thread is not threading.current_thread():
            self._thread.join()
