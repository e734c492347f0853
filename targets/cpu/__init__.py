"""The CPU target: kernel generators in MLIR, weight packing, and the lowering to a plan."""
