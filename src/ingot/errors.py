"""The errors a user can cause or meet, as one tree.

    IngotError                exit code 1
    ├── UsageError            exit code 2: a wrong flag, option or argument
    ├── ExtensionError        an installed extension that cannot be loaded, or is not what it says
    ├── CheckpointError       the model given to `ingot compile` cannot be read
    ├── UnsupportedError      a model, op or encoding that this version cannot compile
    ├── VerificationError     a pass or a kernel broke its numeric contract
    ├── ArtifactError         an artifact is missing, damaged or of another version
    └── RequestError          a request that the engine refuses; HTTP status 400

Every message names where (file and key, op location), what, and ends with what to do.  A bug is an
`assert` or any other exception: the command line prints a traceback for those, and only for those.
"""


class IngotError(Exception):
    """Base of every error whose message is meant for a user.

    `where` is put before the message; `hint`, one imperative sentence, after it.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        self.message, self.where, self.hint = message, where, hint
        text = f"{where}: {message}" if where else message
        super().__init__(f"{text}\n  {hint}" if hint else text)


class UsageError(IngotError):
    """The command or the Python interface was called wrongly."""

    exit_code = 2


class ExtensionError(IngotError):
    """An installed extension cannot be loaded, or its entry point holds something else."""


class CheckpointError(IngotError):
    """A model artifact given to the compiler cannot be read."""


class UnsupportedError(IngotError):
    """The input is sound, but this version cannot compile it."""


class VerificationError(IngotError):
    """A pass, a kernel or an artifact broke its numeric contract."""


class ArtifactError(IngotError):
    """A compiled artifact is missing, damaged, or of a format this version does not read."""


class RequestError(IngotError):
    """A request that the engine refuses, with the reason; the daemon answers with status 400."""
