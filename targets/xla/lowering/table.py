"""How each operation is lowered: one row of a table for each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ingot.errors import UnsupportedError
from ingot.ir import (
    Activation,
    Add,
    AddConstant,
    AddLayerNorm,
    AddRmsNorm,
    AllGather,
    AllReduce,
    Arrange,
    Attention,
    Combine,
    Dispatch,
    Embedding,
    Experts,
    Glu,
    L2Normalize,
    LayerNorm,
    Linear,
    LocalIds,
    MergeAttention,
    Module,
    Mul,
    OpView,
    PartialAttention,
    ReduceScatter,
    RmsNorm,
    Rope,
    Round,
    Route,
    Scale,
    SelectRows,
    SendRecv,
    Shard,
    Shift,
    Slice,
    Softcap,
    func,
    is_weight_expression,
    place_of,
    source_of,
)
from ingot.targets.xla import hlo

from .attention import lower_attention, lower_merge_attention, lower_partial_attention
from .collectives import (
    lower_all_gather,
    lower_all_reduce,
    lower_combine,
    lower_dispatch,
    lower_local_ids,
    lower_reduce_scatter,
    lower_shard,
)
from .context import Context
from .elementwise import (
    lower_activation,
    lower_add,
    lower_add_constant,
    lower_arrange,
    lower_glu,
    lower_l2_normalize,
    lower_mul,
    lower_round,
    lower_scale,
    lower_select_rows,
    lower_shift,
    lower_slice,
    lower_softcap,
)
from .experts import lower_experts
from .linear import lower_embedding, lower_linear
from .norm import (
    lower_add_layer_norm,
    lower_add_rms_norm,
    lower_layer_norm,
    lower_rms_norm,
)
from .rope import lower_rope
from .route import lower_route

TABLE: Mapping[type[OpView], Callable[[Context, Any], None]] = {
    Activation: lower_activation,
    Add: lower_add,
    AddConstant: lower_add_constant,
    AddLayerNorm: lower_add_layer_norm,
    AddRmsNorm: lower_add_rms_norm,
    AllGather: lower_all_gather,
    AllReduce: lower_all_reduce,
    Arrange: lower_arrange,
    Attention: lower_attention,
    Combine: lower_combine,
    Dispatch: lower_dispatch,
    Embedding: lower_embedding,
    Experts: lower_experts,
    Glu: lower_glu,
    L2Normalize: lower_l2_normalize,
    LayerNorm: lower_layer_norm,
    Linear: lower_linear,
    LocalIds: lower_local_ids,
    MergeAttention: lower_merge_attention,
    Mul: lower_mul,
    PartialAttention: lower_partial_attention,
    ReduceScatter: lower_reduce_scatter,
    RmsNorm: lower_rms_norm,
    Rope: lower_rope,
    Round: lower_round,
    Route: lower_route,
    Scale: lower_scale,
    SelectRows: lower_select_rows,
    Shard: lower_shard,
    Shift: lower_shift,
    Slice: lower_slice,
    Softcap: lower_softcap,
}


def can_lower(operation: OpView) -> bool:
    """Return whether an operation has a row in the table, or needs none."""
    return type(operation) in TABLE or isinstance(operation, SendRecv)


def check_operations(module: Module) -> None:
    """Raise `UnsupportedError` for the first operation that has no row, before any work is done.

    Weight expressions have none: they are evaluated when the artifact is written.
    """
    for operation in module.step.entry_block.operations:
        is_weight = len(operation.results) and all(map(is_weight_expression, operation.results))
        if not (is_weight or can_lower(operation) or isinstance(operation, func.ReturnOp)):
            raise UnsupportedError(
                f"{operation.operation.name} has no lowering to StableHLO",
                where=place_of(operation.location) or "step",
                hint="Compile for another target; `ingot targets` lists them.",
            )


def lower_operations(context: Context, operations: Sequence[OpView]) -> None:
    """Lower operations, all of which have a row, in order."""
    for operation in operations:
        if isinstance(operation, SendRecv):
            continue
        with hlo.named(source_of(operation.location).module or operation.operation.name):
            TABLE[type(operation)](context, operation)
