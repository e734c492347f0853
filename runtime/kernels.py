"""Load compiled kernels from an object file in memory, through LLVM's ORC.

What an object needs from outside (functions of libm and libc) comes from this process.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import llvmlite.binding as llvm

from ingot.errors import ArtifactError

from .object_file import functions_of


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
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._compiler = llvm.create_lljit_compiler(suppress_errors=True)
        try:
            wanted, own = _wanted(image, base, frozenset(symbols), frozenset(alternatives))
            found = [(self._link("kernels", image, own), own)]
            if base is not None:
                others = wanted - own
                found.append((self._link("base", base, others), others))
        except (RuntimeError, ValueError) as error:
            raise ArtifactError(
                f"the kernels cannot be linked: {error}",
                where=where,
                hint="Compile the model again with this version of Ingot.",
            ) from error
        self._libraries = [library for library, _ in found]
        self.addresses: Mapping[str, int] = MappingProxyType(
            {symbol: library[symbol] for library, names in found for symbol in names}
        )

    @property
    def symbols(self) -> frozenset[str]:
        """The kernels that were found."""
        return frozenset(self.addresses)

    def _link(self, name: str, image: bytes, symbols: Collection[str]) -> Any:
        builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for symbol in symbols:
            builder.export_symbol(symbol)
        return builder.link(self._compiler, name)


def _wanted(
    image: bytes, base: bytes | None, symbols: frozenset[str], alternatives: frozenset[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return what is to be looked up, and what of it in `image`; ValueError for no object."""
    if base is None and not alternatives:
        return symbols, symbols
    here = functions_of(image)
    known = here if base is None else here | functions_of(base)
    wanted = symbols | (alternatives & known)
    return wanted, wanted if base is None else wanted & here
