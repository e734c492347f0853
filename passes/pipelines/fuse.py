"""Compute together what one kernel computes: linears of one input, norms with sums, roundings."""

PASSES = (
    "merge-linears",
    "fuse-norms",
    "round-activations{bfloat16=true}",
    "fuse-rounding",
    "canonicalize",
)
