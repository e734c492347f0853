"""Load compiled kernels from an object file in memory, through LLVM's ORC.

What an object needs from outside (functions of libm and libc) comes from this process.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

import llvmlite.binding as llvm

from ingot.errors import ArtifactError

_LIBRARY = "kernels"


class Kernels:
    """The kernels of one object file; their addresses are valid for as long as this lives."""

    def __init__(self, image: bytes, symbols: Collection[str], *, where: str = "") -> None:
        """Link `image` and look up `symbols`; raises `ArtifactError` where one cannot be found."""
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._compiler = llvm.create_lljit_compiler(suppress_errors=True)
        builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for symbol in symbols:
            builder.export_symbol(symbol)
        try:
            self._library = builder.link(self._compiler, _LIBRARY)
        except RuntimeError as error:
            raise ArtifactError(
                f"the kernels cannot be linked: {error}",
                where=where,
                hint="Compile the model again with this version of Ingot.",
            ) from error
        self.addresses: Mapping[str, int] = MappingProxyType(
            {symbol: self._library[symbol] for symbol in symbols}
        )
