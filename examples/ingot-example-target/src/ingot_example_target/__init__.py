"""A target for Ingot in a package of its own."""
