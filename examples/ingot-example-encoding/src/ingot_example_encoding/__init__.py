"""An encoding of weights for Ingot in a package of its own."""
