"""A module of the IR: the step function and what it calls, with its context."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ingot.errors import IngotError

from .dialect import LM
from .mesh import Mesh
from .mlir import (
    Context,
    InsertionPoint,
    Location,
    MLIRError,
    MlirModule,
    Operation,
    OpView,
    StringAttr,
    func,
    torch_dialect,
)
from .ops import all_operations
from .placement import Misplaced, check_placement, stages_by_op
from .types import step_inputs

STEP = "step"
MESH = "lm.mesh"
"""The attribute of the step that names the mesh whose devices all run it."""


class InvalidModuleError(IngotError):
    """A module cannot be read, or breaks a rule of the IR."""


def new_context() -> Context:
    """Return a context with the torch and `lm` dialects loaded, all operations included."""
    all_operations()
    context = Context()
    torch_dialect.register_dialect(context)
    with context, Location.unknown():
        LM.load()
    return context


class Module:
    """One MLIR module; `mlir` is the bindings' own object.

    Keep the module while you use its operations: they do not keep it alive.
    """

    def __init__(self, mlir: MlirModule) -> None:
        self.mlir = mlir

    @classmethod
    def create(cls, context: Context | None = None) -> "Module":
        """Return an empty module in `context`, or in a new one."""
        with Location.unknown(context or new_context()):
            return cls(MlirModule.create())

    @classmethod
    def parse(
        cls, source: str | bytes, where: str = "module", context: Context | None = None
    ) -> "Module":
        """Read text or bytecode and verify it.

        `where` names the source in errors; raises InvalidModuleError with file and line.
        """
        context = context or new_context()
        try:
            if isinstance(source, bytes):
                return cls(MlirModule.parse(source, context)).verified(where)
            with context:
                # Only the parser of operations takes the name of the source, only that of modules
                # gives a module: the bytecode in between keeps the locations.
                operation = Operation.parse(_enclosed(source), source_name=where)
            return cls(MlirModule.parse(_bytecode(operation), context)).verified(where)
        except MLIRError as error:
            raise _invalid(error, where) from None

    @property
    def context(self) -> Context:
        """The context that owns all types and attributes of the module."""
        return self.mlir.context

    @property
    def functions(self) -> list[func.FuncOp]:
        """All functions, in order."""
        return [op for op in self.mlir.body.operations if isinstance(op, func.FuncOp)]

    @property
    def step(self) -> func.FuncOp:
        """The step function; raises InvalidModuleError where there is none."""
        for function in self.functions:
            if function.name.value == STEP:
                return function
        raise InvalidModuleError(f"has no function @{STEP}", where="module", hint=_HINT)

    @property
    def mesh(self) -> Mesh | None:
        """The mesh whose devices all run the step; None where it is the program of one device."""
        for function in self.functions:
            if function.name.value == STEP and MESH in function.attributes:
                return _mesh_of(function)
        return None

    def set_mesh(self, mesh: Mesh | None) -> None:
        """Say that the step is the program of each device of `mesh`; None: of a single one."""
        attributes = self.step.attributes
        if mesh is not None:
            attributes[MESH] = StringAttr.get(str(mesh), self.context)
        elif MESH in attributes:
            del attributes[MESH]

    def text(self, locations: bool = False) -> str:
        """Return the module as MLIR text that `parse` reads back."""
        return str(self.mlir.operation.get_asm(enable_debug_info=locations))

    def __str__(self) -> str:
        return self.text()

    def bytecode(self) -> bytes:
        """Return the module as MLIR bytecode, locations included."""
        return _bytecode(self.mlir.operation)

    def clone(self) -> "Module":
        """Return a copy in the same context."""
        return Module(MlirModule.parse(self.bytecode(), self.context))

    def verify(self, where: str = "module") -> None:
        """Raise InvalidModuleError, with the location, if any operation breaks a rule of the IR."""
        try:
            self.mlir.operation.verify()
        except MLIRError as error:
            raise _invalid(error, where) from None
        for function in self.functions:
            if function.name.value == STEP:
                _check_step(function, where)

    def verified(self, where: str = "module") -> "Module":
        """Verify, and return the module itself."""
        self.verify(where)
        return self


@contextmanager
def before(operation: Operation | OpView) -> Iterator[None]:
    """Build operations before `operation`, at its location."""
    with InsertionPoint(operation), operation.location:
        yield


@contextmanager
def after(operation: Operation | OpView) -> Iterator[None]:
    """Build operations right after `operation`, at its location."""
    with InsertionPoint.after(operation), operation.location:
        yield


_HINT = "Give a module with `func.func @step(tokens, positions, batch)`; see docs/architecture.md."


def _bytecode(operation: Operation | OpView) -> bytes:
    buffer = io.BytesIO()
    operation.write_bytecode(buffer)
    return buffer.getvalue()


_STARTS_AS_MODULE = re.compile(r'(?:\s|//[^\n]*\n|[#!][^\n]*\n)*(?:module\b|"builtin.module")')


def _enclosed(text: str) -> str:
    """Put a module around bare functions, as MLIR's own tools do; line numbers stay."""
    return text if _STARTS_AS_MODULE.match(text) else f"module {{{text}\n}}"


def _check_step(function: func.FuncOp, where: str) -> None:
    expected = step_inputs(function.context)
    found = list(function.type.inputs)
    if found == expected:
        if MESH in function.attributes:
            _check_placement(function, where)
        return
    raise InvalidModuleError(
        f"@{STEP} takes ({', '.join(map(str, found))}), expected ({', '.join(map(str, expected))})",
        where=place_of(function.location) or where,
        hint=_HINT,
    )


def _check_placement(function: func.FuncOp, where: str) -> None:
    try:
        check_placement(function, _mesh_of(function))
    except Misplaced as problem:
        raise _misplaced(problem, where) from None


def _mesh_of(function: func.FuncOp) -> Mesh:
    return Mesh.parse(str(StringAttr(function.attributes[MESH]).value))


def _misplaced(problem: Misplaced, where: str) -> InvalidModuleError:
    return InvalidModuleError(
        f"{problem.op.operation.name} {problem}",
        where=place_of(problem.op.location) or where,
        hint="Correct the operation, or the pass that made it.",
    )


def stages_of(module: Module) -> dict[OpView, int]:
    """Return the stage of a pipeline that runs each operation of the step.

    An operation belongs to the stage of its operands, to stage 0 if none is made by another;
    `lm.send_recv` to the stage that receives.  Weight expressions are left out: they are evaluated
    wherever they are read.  Raises InvalidModuleError for an operation that reads several stages.
    """
    try:
        return stages_by_op(module.step)
    except Misplaced as problem:
        raise _misplaced(problem, "module") from None


_FILE_LOCATION = re.compile(r'"([^"]*)":(\d+):(\d+)')


def place_of(location: Location) -> str:
    """Return the first `file:line:column` of a location, '' where it is unknown."""
    match = _FILE_LOCATION.search(str(location))
    # The parser of bytecode calls its source "-".
    return ":".join(match.groups()) if match and match[1] != "-" else ""


def _invalid(error: MLIRError, where: str) -> InvalidModuleError:
    diagnostics = list(error.error_diagnostics)
    if not diagnostics:
        return InvalidModuleError(str(error), where=where)
    lines = [_clean(diagnostics[0].message)]
    for extra in diagnostics[1:]:
        lines.append(f"{place_of(extra.location) or where}: {_clean(extra.message)}")
    return InvalidModuleError(
        "\n  ".join(lines),
        where=place_of(diagnostics[0].location) or where,
        hint="Correct the operation, or the pass that made it.",
    )


def _clean(message: str) -> str:
    """Return a diagnostic without the NUL bytes that MLIR leaves where it forms plurals."""
    return message.replace("\0", "")
