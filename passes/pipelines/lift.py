"""Raise a model to the lm dialect and put away what no pattern recognises."""

PASSES = ("raise", "canonicalize", "fold-arrangements", "select-rows", "outline")
