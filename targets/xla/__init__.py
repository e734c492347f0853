"""The target family `xla`: StableHLO, compiled by XLA for virtual CPU devices and for GPUs."""
