"""A pass for Ingot in a package of its own."""
