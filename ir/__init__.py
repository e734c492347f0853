"""The intermediate representation: the `lm` dialect, encodings and the reference interpreter.

Everything that other folders use is exported here; `mlir` is the bindings' door.
"""

from ingot.ir.interpreter.attention import ragged_attention
from ingot.ir.interpreter.entry import interpreter_of, run_step
from ingot.ir.interpreter.experts import ExpertUnit
from ingot.ir.interpreter.mesh_run import MeshInterpreter
from ingot.ir.interpreter.run import Interpreter, Watch
from ingot.ir.interpreter.values import Batch, CacheKey, Datum
from ingot.ir.interpreter.weights import (
    Weights,
    evaluate_weight,
    weight_symbols,
)
from ingot.ir.ops.activation import Activation
from ingot.ir.ops.add import Add
from ingot.ir.ops.add_constant import AddConstant
from ingot.ir.ops.add_layer_norm import AddLayerNorm
from ingot.ir.ops.add_rms_norm import AddRmsNorm
from ingot.ir.ops.all_gather import AllGather
from ingot.ir.ops.all_reduce import AllReduce
from ingot.ir.ops.arrange import Arrange
from ingot.ir.ops.arrange_rows import ArrangeRows
from ingot.ir.ops.attention import Attention
from ingot.ir.ops.causal_conv import CausalConv
from ingot.ir.ops.combine import Combine
from ingot.ir.ops.concat import Concat
from ingot.ir.ops.convert import Convert
from ingot.ir.ops.delta_rule import DeltaRule
from ingot.ir.ops.dispatch import Dispatch
from ingot.ir.ops.embedding import Embedding
from ingot.ir.ops.expert_rows import ExpertRows
from ingot.ir.ops.experts import Experts
from ingot.ir.ops.fill import Fill
from ingot.ir.ops.from_torch import FromTorch
from ingot.ir.ops.glu import Glu
from ingot.ir.ops.l2_normalize import L2Normalize
from ingot.ir.ops.layer_norm import LayerNorm
from ingot.ir.ops.linear import Linear
from ingot.ir.ops.local_ids import LocalIds
from ingot.ir.ops.merge_attention import MergeAttention
from ingot.ir.ops.mul import Mul
from ingot.ir.ops.neg_exp import NegExp
from ingot.ir.ops.partial_attention import PartialAttention
from ingot.ir.ops.pool import Pool
from ingot.ir.ops.quantize import Quantize
from ingot.ir.ops.reduce_scatter import ReduceScatter
from ingot.ir.ops.reshape import Reshape
from ingot.ir.ops.rms_norm import RmsNorm
from ingot.ir.ops.rope import Rope
from ingot.ir.ops.round import Round
from ingot.ir.ops.route import Route
from ingot.ir.ops.scale import Scale
from ingot.ir.ops.select_rows import SelectRows
from ingot.ir.ops.selective_scan import SelectiveScan
from ingot.ir.ops.send_recv import SendRecv
from ingot.ir.ops.shard import Shard
from ingot.ir.ops.shift import Shift
from ingot.ir.ops.slice import Slice
from ingot.ir.ops.softcap import Softcap
from ingot.ir.ops.ssm_scan import SsmScan
from ingot.ir.ops.to_torch import ToTorch
from ingot.ir.ops.token_types import TokenTypes
from ingot.ir.ops.transpose import Transpose
from ingot.ir.ops.weight import Weight
from ingot.ir.printing.graph import Graph, Node, layer_graph, layers_of
from ingot.ir.printing.readable import readable

from . import mlir
from .bridge import builtin_type, torch_type, vtensor_parts
from .building import build_module
from .checks import (
    require,
    require_activation,
    require_choice,
    require_float,
    require_positive,
    require_same_type,
    require_vector,
)
from .collectives import axis_of
from .costs import bits_of, bytes_of, elements_of, traffic
from .dialect import LM, BatchType, Quant
from .encoding import (
    ACTIVATION,
    ACTIVATION_GROUP,
    GROUP_SIZES,
    ROW_ACTIVATION,
    CustomEncoding,
    Encoding,
    Offset,
    known_encodings,
)
from .fields import InvalidOp
from .functions import ACTIVATIONS
from .locations import Source, fused_location, source_of, sources_of
from .mesh import AXES, DATA_AXES, Mesh
from .mlir import (
    DYNAMIC,
    Attribute,
    AttributeValue,
    BF16Type,
    Block,
    BlockArgument,
    BoolAttr,
    Context,
    ExecutionEngine,
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
    MlirModule,
    Operation,
    OpResult,
    OpView,
    PassManager,
    PatternRewriter,
    RankedTensorType,
    RewritePatternSet,
    ShapedType,
    StringAttr,
    SymbolTable,
    Type,
    TypeAttr,
    Value,
    VectorType,
    apply_patterns_and_fold_greedily,
    arith,
    attribute_of,
    cf,
    ext,
    func,
    ir,
    linalg,
    llvm,
    math,
    memref,
    passmanager,
    plain_address,
    python_value,
    rewrite,
    scf,
    tensor,
    torch_dialect,
    translate_to_llvm_ir,
    vector,
    walk_and_apply_patterns,
    x86,
)
from .module import (
    STEP,
    InvalidModuleError,
    Module,
    after,
    before,
    new_context,
    place_of,
    stages_of,
)
from .operation import Cost, Op, Place
from .ops import all_operations
from .pieces import Piece, parse_pieces
from .placement import axes_of, is_weight_expression, part_coordinates, varying_axes
from .quant_tensor import QuantTensor, concatenate
from .references import rounded_as, split_heads, tensor_of, with_weights
from .rounding import quantize, round_activations
from .sharding import Part, Sharding, clear_shardings, set_shardings, shardings_of
from .states import carries_state
from .types import (
    activation_type,
    columns_of,
    encoding_of,
    float_tensor,
    index_type,
    is_choice,
    is_per_token,
    is_rounded,
    logical_type,
    resized_type,
    shape_of,
    step_inputs,
    tensor_type,
    torch_dtype,
    type_of,
)

__all__ = [
    "ACTIVATION",
    "ACTIVATIONS",
    "ACTIVATION_GROUP",
    "AXES",
    "DATA_AXES",
    "DYNAMIC",
    "GROUP_SIZES",
    "LM",
    "ROW_ACTIVATION",
    "STEP",
    "Activation",
    "Add",
    "AddConstant",
    "AddLayerNorm",
    "AddRmsNorm",
    "AllGather",
    "AllReduce",
    "Arrange",
    "ArrangeRows",
    "Attention",
    "Attribute",
    "AttributeValue",
    "BF16Type",
    "Batch",
    "BatchType",
    "Block",
    "BlockArgument",
    "BoolAttr",
    "CacheKey",
    "CausalConv",
    "Combine",
    "Concat",
    "Context",
    "Convert",
    "Cost",
    "CustomEncoding",
    "Datum",
    "DeltaRule",
    "Dispatch",
    "Embedding",
    "Encoding",
    "ExecutionEngine",
    "ExpertRows",
    "ExpertUnit",
    "Experts",
    "F16Type",
    "F32Type",
    "F64Type",
    "Fill",
    "FlatSymbolRefAttr",
    "FloatAttr",
    "FromTorch",
    "FunctionType",
    "Glu",
    "Graph",
    "IndexType",
    "InsertionPoint",
    "IntegerAttr",
    "IntegerType",
    "Interpreter",
    "InvalidModuleError",
    "InvalidOp",
    "L2Normalize",
    "LayerNorm",
    "Linear",
    "LocalIds",
    "Location",
    "MLIRError",
    "MergeAttention",
    "Mesh",
    "MeshInterpreter",
    "MlirModule",
    "Module",
    "Mul",
    "NegExp",
    "Node",
    "Offset",
    "Op",
    "OpResult",
    "OpView",
    "Operation",
    "Part",
    "PartialAttention",
    "PassManager",
    "PatternRewriter",
    "Piece",
    "Place",
    "Pool",
    "Quant",
    "QuantTensor",
    "Quantize",
    "RankedTensorType",
    "ReduceScatter",
    "Reshape",
    "RewritePatternSet",
    "RmsNorm",
    "Rope",
    "Round",
    "Route",
    "Scale",
    "SelectRows",
    "SelectiveScan",
    "SendRecv",
    "ShapedType",
    "Shard",
    "Sharding",
    "Shift",
    "Slice",
    "Softcap",
    "Source",
    "SsmScan",
    "StringAttr",
    "SymbolTable",
    "ToTorch",
    "TokenTypes",
    "Transpose",
    "Type",
    "TypeAttr",
    "Value",
    "VectorType",
    "Watch",
    "Weight",
    "Weights",
    "activation_type",
    "after",
    "all_operations",
    "apply_patterns_and_fold_greedily",
    "arith",
    "attribute_of",
    "axes_of",
    "axis_of",
    "before",
    "bits_of",
    "build_module",
    "builtin_type",
    "bytes_of",
    "carries_state",
    "cf",
    "clear_shardings",
    "columns_of",
    "concatenate",
    "elements_of",
    "encoding_of",
    "evaluate_weight",
    "ext",
    "float_tensor",
    "func",
    "fused_location",
    "index_type",
    "interpreter_of",
    "ir",
    "is_choice",
    "is_per_token",
    "is_rounded",
    "is_weight_expression",
    "known_encodings",
    "layer_graph",
    "layers_of",
    "linalg",
    "llvm",
    "logical_type",
    "math",
    "memref",
    "mlir",
    "new_context",
    "parse_pieces",
    "part_coordinates",
    "passmanager",
    "place_of",
    "plain_address",
    "python_value",
    "quantize",
    "ragged_attention",
    "readable",
    "require",
    "require_activation",
    "require_choice",
    "require_float",
    "require_positive",
    "require_same_type",
    "require_vector",
    "resized_type",
    "rewrite",
    "round_activations",
    "rounded_as",
    "run_step",
    "scf",
    "set_shardings",
    "shape_of",
    "shardings_of",
    "source_of",
    "sources_of",
    "split_heads",
    "stages_of",
    "step_inputs",
    "tensor",
    "tensor_of",
    "tensor_type",
    "torch_dialect",
    "torch_dtype",
    "torch_type",
    "traffic",
    "translate_to_llvm_ir",
    "type_of",
    "varying_axes",
    "vector",
    "vtensor_parts",
    "walk_and_apply_patterns",
    "weight_symbols",
    "with_weights",
    "x86",
]
