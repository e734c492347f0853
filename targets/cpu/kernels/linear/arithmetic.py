"""The number that lets an integer sum be read as a float."""

MAGIC_BITS = 0x4B400000
MAGIC = 12582912.0
"""1.5·2^23: an i32 sum started at its bits and read as f32 is MAGIC + the sum, exactly."""
