"""Kernel generators: each file builds the MLIR of one kind of op, specialised to its shape."""
