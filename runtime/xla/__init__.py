"""Artifacts compiled by XLA, run through PJRT; jax never takes part."""
