"""Patterns that raise torch ops to the `lm` dialect; each file is found by the pass `raise`."""
