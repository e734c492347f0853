"""The MLIR bindings: everybody takes their names from here.

Only `targets/cpu/codegen_worker.py`, a program of its own, imports them itself.
The bindings come with the `torch-mlir` wheel (LLVM 24).  Beyond re-exporting them, this module
guards against their known defects:

* A `BoolAttr` is falsy when it holds false, so a test for a missing attribute takes it for absent:
  attributes are made by `attribute_of` and handed over in dictionaries.
* `ExecutionEngine.raw_lookup` returns a wrapper with packed arguments: use `plain_address`.
* A pass manager takes Python passes only under its own anchor: pass no `op_name` to `add`.
* For every operation that Python meets, the bindings import `torch_mlir.dialects.NAME` unless that
  succeeded before: for a dialect without such a file they search the path each time, which took
  three quarters of the time of all passes.  `announce_dialect` puts an empty module there.
"""

import ctypes
import sys
from types import ModuleType

from torch_mlir import ir, passmanager, rewrite
from torch_mlir.dialects import (
    arith,
    cf,
    ext,
    func,
    linalg,
    llvm,
    math,
    memref,
    scf,
    tensor,
    vector,
    x86,
)
from torch_mlir.dialects import torch as torch_dialect
from torch_mlir.execution_engine import ExecutionEngine
from torch_mlir.extras.fx_importer import FxImporter
from torch_mlir.ir import (
    Attribute,
    BF16Type,
    Block,
    BlockArgument,
    BoolAttr,
    Context,
    F16Type,
    F32Type,
    F64Type,
    FlatSymbolRefAttr,
    FloatAttr,
    FunctionType,
    IndexType,
    InsertionPoint,
    IntegerAttr,
    IntegerType,
    Location,
    MLIRError,
    Operation,
    OpResult,
    OpView,
    RankedTensorType,
    ShapedType,
    StringAttr,
    SymbolTable,
    Type,
    TypeAttr,
    Value,
    VectorType,
)
from torch_mlir.ir import Module as MlirModule
from torch_mlir.passmanager import PassManager
from torch_mlir.rewrite import (
    PatternRewriter,
    RewritePatternSet,
    apply_patterns_and_fold_greedily,
    walk_and_apply_patterns,
)

__all__ = [
    "DYNAMIC",
    "Attribute",
    "AttributeValue",
    "BF16Type",
    "Block",
    "BlockArgument",
    "BoolAttr",
    "Context",
    "ExecutionEngine",
    "F16Type",
    "F32Type",
    "F64Type",
    "FlatSymbolRefAttr",
    "FloatAttr",
    "FunctionType",
    "FxImporter",
    "IndexType",
    "InsertionPoint",
    "IntegerAttr",
    "IntegerType",
    "Location",
    "MLIRError",
    "MlirModule",
    "OpResult",
    "OpView",
    "Operation",
    "PassManager",
    "PatternRewriter",
    "RankedTensorType",
    "RewritePatternSet",
    "ShapedType",
    "StringAttr",
    "SymbolTable",
    "Type",
    "TypeAttr",
    "Value",
    "VectorType",
    "apply_patterns_and_fold_greedily",
    "arith",
    "attribute_of",
    "cf",
    "ext",
    "func",
    "ir",
    "linalg",
    "llvm",
    "math",
    "memref",
    "passmanager",
    "plain_address",
    "python_value",
    "rewrite",
    "scf",
    "tensor",
    "torch_dialect",
    "vector",
    "walk_and_apply_patterns",
    "x86",
]

DYNAMIC: int = ShapedType.get_dynamic_size()
"""The size that a shape gives for a dimension not known at compile time (`?`)."""

AttributeValue = bool | int | float | str


def announce_dialect(name: str) -> None:
    """Let the bindings find the module of a dialect that is defined elsewhere."""
    path = f"{ir.__name__.rpartition('.')[0]}.dialects.{name}"
    sys.modules.setdefault(path, ModuleType(path))


def attribute_of(value: AttributeValue, context: Context) -> Attribute:
    """Return the MLIR attribute of a Python value: i1, i64, f64 or a string."""
    if isinstance(value, bool):
        return BoolAttr.get(value, context)
    if isinstance(value, int):
        return IntegerAttr.get(IntegerType.get_signless(64, context), value)
    if isinstance(value, float):
        return FloatAttr.get_f64(value, context)
    return StringAttr.get(value, context)


def python_value(attribute: Attribute) -> AttributeValue:
    """Return the Python value of a boolean, integer, float or string attribute."""
    value = attribute.value
    assert isinstance(value, AttributeValue), f"{attribute} has no Python value"
    return value


def plain_address(engine: ExecutionEngine, symbol: str) -> int:
    """Return the address of a jitted function itself, not of its packed-argument wrapper."""
    libraries = ir.__file__.rsplit("/", 1)[0] + "/_mlir_libs"
    capi = ctypes.CDLL(f"{libraries}/libTorchMLIRAggregateCAPI.so")

    class StringRef(ctypes.Structure):
        _fields_ = (("data", ctypes.c_char_p), ("length", ctypes.c_size_t))

    capi.mlirExecutionEngineLookup.restype = ctypes.c_void_p
    capi.mlirExecutionEngineLookup.argtypes = [ctypes.c_void_p, StringRef]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    capsule = engine._CAPIPtr
    name = symbol.encode()
    address = capi.mlirExecutionEngineLookup(
        get_pointer(capsule, get_name(capsule)), StringRef(name, len(name))
    )
    assert address, f"the engine has no function {symbol}"
    return int(address)
