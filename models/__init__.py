"""Checkpoints and architectures: what the compiler takes in."""
