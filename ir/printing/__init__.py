"""The readable form of a module: one operation a line, weights inlined, values named."""
