"""Linear layers: kernels for every packing, for 1, 2, 4, 8, 16 and any number of rows."""
