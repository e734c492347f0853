"""Passes over `lm` modules: raising, rewriting, quantisation."""
