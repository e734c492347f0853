"""Raise a model to the lm dialect and put away what no pattern recognises."""

PASSES = ("raise", "canonicalize", "select-rows", "outline")
