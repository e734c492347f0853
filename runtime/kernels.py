"""Load compiled kernels from object files in memory.

What an object needs from outside (functions of libm and libc) comes from this process.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from ingot.errors import ArtifactError

from . import _native


class Kernels:
    """Kernels of object files; their addresses are valid for as long as this lives."""

    def __init__(
        self,
        image: bytes,
        symbols: Collection[str],
        *,
        alternatives: Collection[str] = (),
        base: bytes | None = None,
        where: str = "",
    ) -> None:
        """Link `image` and look up `symbols`, those that it lacks in the object `base`.

        Of `alternatives` those are looked up that are there.  Raises `ArtifactError` where one of
        the others cannot be found.
        """
        try:
            # What stands later goes before.
            self._objects = [_native.CodeObject(one) for one in (base, image) if one is not None]
            known = {name: at for one in self._objects for name, at in one.functions.items()}
            missing = sorted(set(symbols) - known.keys())
            if missing:
                raise ValueError(f"no kernel is called {missing[0]}")
        except ValueError as error:
            raise ArtifactError(
                f"the kernels cannot be linked: {error}",
                where=where,
                hint="Compile the model again with this version of Ingot.",
            ) from error
        wanted = {*symbols, *alternatives} & known.keys()
        self.addresses: Mapping[str, int] = MappingProxyType({name: known[name] for name in wanted})

    @property
    def symbols(self) -> frozenset[str]:
        """The kernels that were found."""
        return frozenset(self.addresses)
