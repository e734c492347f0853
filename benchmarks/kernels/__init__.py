"""Microbenchmarks of the CPU target's kernels, family by family, beside the machine's limits."""
