"""Which executor runs an artifact: that of the target that it was compiled for.

Other distributions bring executors for their targets by the entry-point group `ingot.executors`:
named like the target, a function of an artifact, `threads` and options that returns an `Executor`.
"""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from ingot.errors import ArtifactError
from ingot.extensions import Group, Owner

from .artifact import Artifact
from .executor import Executor

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = Group("ingot.executors", "executor", "executors")
CPU = "cpu"
NULL = "null"
XLA_FAMILIES = ("xla", "tpu")


def open_executor(
    artifact: Artifact,
    *,
    threads: int | None = None,
    extensions: "Iterable[EntryPoint] | None" = None,
    **options: Any,
) -> Executor:
    """Return an executor with `artifact` loaded; the first target that has one counts.

    Raises ArtifactError where nothing that is installed runs its targets.  `extensions` stands for
    the installed entry points; a test gives its own.  They are not looked at where the first target
    is one of ours, as that takes longer than all else that happens before the weights are read.
    """
    own = {CPU: Owner(CPU, "runtime/native_executor.py", _native)}
    for family in XLA_FAMILIES:
        own[family] = Owner(family, "runtime/xla/executor.py", partial(_xla, family))
    targets = list(artifact.manifest.get("targets", {CPU: {}}))
    ours = extensions is None and bool(targets) and targets[0] in own
    owners = own if ours else GROUP.owners(own, _accept, extensions)
    for name in targets:
        if name in owners:
            make: Any = owners[name].load()
            executor: Executor = make(artifact, threads=threads, **options)
            return executor
    if targets == [NULL]:
        raise ArtifactError(
            "it was compiled for the target null, so it has no program to run",
            where=str(artifact.path),
            hint="Compile the model with another --target, such as cpu.",
        )
    raise ArtifactError(
        f"it was compiled for {', '.join(targets) or 'no target'}, which nothing here runs",
        where=str(artifact.path),
        hint="Install the distribution that brings the target, or compile with --target cpu.",
    )


def _native() -> object:
    # The extension module loads only where it runs something.
    from .native_executor import NativeExecutor

    return NativeExecutor


def _xla(family: str) -> object:
    # jaxlib loads only where it runs something.
    from .xla.executor import XlaExecutor

    return partial(XlaExecutor, family=family)


def _accept(owner: Owner, found: object) -> object:
    if not callable(found):
        raise GROUP.refuse(owner, found, "a function that returns an executor")
    return found
