"""The target family `tpu`: StableHLO, compiled by libtpu for chips that need not be there."""
