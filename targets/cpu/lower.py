"""The lowering of an `lm` module to a program: one row of a table for each operation."""

from collections.abc import Callable, Mapping
from typing import Any

from ingot.errors import UnsupportedError
from ingot.ir import (
    Activation,
    Add,
    AddConstant,
    AddLayerNorm,
    AddRmsNorm,
    Arrange,
    Attention,
    CausalConv,
    DeltaRule,
    Embedding,
    Experts,
    Glu,
    L2Normalize,
    LayerNorm,
    Linear,
    Module,
    Mul,
    Op,
    OpView,
    Pool,
    RmsNorm,
    Rope,
    Round,
    Route,
    Scale,
    SelectiveScan,
    SelectRows,
    Shift,
    Slice,
    Softcap,
    SsmScan,
    TokenTypes,
    columns_of,
    func,
    is_weight_expression,
    place_of,
    shape_of,
)
from ingot.targets.base import ModelFacts, Program

from .lowering.arrange import lower_arrange
from .lowering.attention import lower_attention
from .lowering.context import Context
from .lowering.experts import lower_experts, lower_route
from .lowering.linear import lower_embedding, lower_linear
from .lowering.norm import (
    lower_add_layer_norm,
    lower_add_rms_norm,
    lower_layer_norm,
    lower_rms_norm,
)
from .lowering.pool import lower_indices, lower_l2_normalize, lower_pool
from .lowering.remainder import lower_call
from .lowering.rope import lower_rope
from .lowering.rowwise import (
    lower_activation,
    lower_add,
    lower_add_constant,
    lower_glu,
    lower_mul,
    lower_round,
    lower_scale,
    lower_select_rows,
    lower_softcap,
)
from .lowering.states import (
    lower_causal_conv,
    lower_delta_rule,
    lower_selective_scan,
    lower_ssm_scan,
)
from .memory import place_barriers, place_buffers
from .plan import KvCache, KvDtype, Limits, Plan
from .registered import registered_lowering


def _lower_slice(context: Context, op: Slice) -> None:
    """A slice is no launch: its value is a view of the columns."""
    context.views[op.out] = context.views[op.x].slice(op.offset, op.size)


TABLE: Mapping[type[OpView], Callable[[Context, Any], None]] = {
    Activation: lower_activation,
    Add: lower_add,
    AddConstant: lower_add_constant,
    AddLayerNorm: lower_add_layer_norm,
    AddRmsNorm: lower_add_rms_norm,
    Arrange: lower_arrange,
    Attention: lower_attention,
    CausalConv: lower_causal_conv,
    DeltaRule: lower_delta_rule,
    Embedding: lower_embedding,
    Experts: lower_experts,
    Glu: lower_glu,
    L2Normalize: lower_l2_normalize,
    LayerNorm: lower_layer_norm,
    Linear: lower_linear,
    Mul: lower_mul,
    Pool: lower_pool,
    RmsNorm: lower_rms_norm,
    Rope: lower_rope,
    Round: lower_round,
    Route: lower_route,
    Scale: lower_scale,
    SelectRows: lower_select_rows,
    SelectiveScan: lower_selective_scan,
    Shift: lower_indices,
    Slice: _lower_slice,
    Softcap: lower_softcap,
    SsmScan: lower_ssm_scan,
    TokenTypes: lower_indices,
    func.CallOp: lower_call,
}


def find_lowering(operation: OpView) -> Callable[[Context, Any], None] | None:
    """Return how an operation is lowered: a row of the table, or of another distribution."""
    own = TABLE.get(type(operation))
    if own is not None or not isinstance(operation, Op):
        return own
    names = (_short(kind) for kind in TABLE if issubclass(kind, Op))
    return registered_lowering(_short(type(operation)), names)


def _short(kind: type[OpView]) -> str:
    name: str = kind.OPERATION_NAME
    return name.removeprefix("lm.")


def lower(module: Module, facts: ModelFacts, kv_dtype: KvDtype) -> Program:
    """Lower the step function of a module.

    Raises `UnsupportedError`, with the operation and its place in the model's source, for what this
    target cannot run.
    """
    context = Context(module, facts, kv_dtype)
    *operations, last = module.step.entry_block.operations
    for operation in operations:
        if operation.operation in context.done or _is_weight(operation):
            continue
        lowering = find_lowering(operation)
        if lowering is None:
            raise UnsupportedError(
                f"{operation.operation.name} has no lowering for the CPU",
                where=place_of(operation.location) or "step",
                hint="Report the model; `ingot opt` shows the module.",
            )
        lowering(context, operation)
    (logits,) = last.operands
    return Program(
        plan=_plan(context, context.views[logits].buffer),
        kernels=tuple(context.kernels[name] for name in sorted(context.kernels)),
        weights=tuple(context.weights.values()),
    )


def _is_weight(operation: OpView) -> bool:
    return all(is_weight_expression(value) for value in operation.results)


def _plan(context: Context, logits: int) -> Plan:
    launches, phases = place_barriers(context.launches, context.effects)
    buffers = place_buffers(context.requests, context.effects, phases, kept=(logits,))
    limits = Limits(
        context.facts.vocab_size,
        context.facts.max_positions,
        row_width=_row_width(context.module),
        token_types=_token_types(context.module),
    )
    cache = KvCache(context.kv_dtype, tuple(context.pools.values()))
    return Plan(limits, cache, buffers, launches, logits, tuple(context.states))


def _row_width(module: Module) -> int:
    """Return the width of the row that a module which pools gives for each sequence, else 0."""
    *operations, last = module.step.entry_block.operations
    if not any(isinstance(one, Pool) for one in operations):
        return 0
    return columns_of(last.operands[0])


def _token_types(module: Module) -> int:
    """Return how many token types the smallest table of them has, 0 where there is none."""
    tables = [
        shape_of(op.table)[0]
        for op in module.step.entry_block.operations
        if isinstance(op, Embedding) and isinstance(op.tokens.owner, TokenTypes)
    ]
    return min(tables, default=0)
