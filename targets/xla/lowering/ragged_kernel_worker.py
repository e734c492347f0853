"""A program of its own that traces the published ragged paged attention kernel for a TPU.

It runs apart from the compiler, which does without jax, and imports nothing of Ingot.  Standard
input is JSON: `topology` and its `options`, `shapes` of the kernel's six operands, `dtype` of
queries and pages, and the kernel's `keywords`.  Standard output is JSON: the attributes of the
custom call, by name, as MLIR text.
"""

import json
import os
import sys
from typing import Any

os.environ |= {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # libtpu lets one process of a machine have it, for the sake of chips; none is touched here.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.experimental.pallas.ops.tpu.ragged_paged_attention import ragged_paged_attention
from jax.sharding import Mesh

CALL = "stablehlo.custom_call"


def main() -> None:
    request = json.load(sys.stdin)
    # What is compiled must not tell where jax lies on this machine.
    jax.config.update("jax_hlo_source_file_canonicalization_regex", ".*")
    topology = topologies.get_topology_desc(
        platform="tpu", topology_name=request["topology"], **request["options"]
    )
    floats, integers = jnp.dtype(request["dtype"]), jnp.int32
    types = [floats, floats, integers, integers, integers, integers]
    arguments = [
        jax.ShapeDtypeStruct(tuple(shape), dtype)
        for shape, dtype in zip(request["shapes"], types, strict=True)
    ]
    # The kernel's compiler asks which chip it is for.
    with jax.set_mesh(Mesh([topology.devices[0]], ("device",))):
        traced = ragged_paged_attention.trace(*arguments, **request["keywords"])
        lowered = traced.lower(lowering_platforms=("tpu",))
    call = _call(lowered.compiler_ir())
    print(json.dumps({name: str(call.attributes[name]) for name in call.attributes}))


def _call(module: Any) -> Any:
    """Return the custom call, whose operands must be in the order in which we pass them."""
    (main,) = module.body.operations
    block = main.entry_block
    (call,) = (op for op in block.operations if op.operation.name == CALL)
    q, pages, lengths, tables, starts, count = block.arguments
    given = [lengths, tables, starts, None, count, q, pages]
    found = [one if one in list(block.arguments) else None for one in call.operands]
    assert found == given, "the kernel takes its operands in another order"
    return call


main()
