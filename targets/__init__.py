"""Targets: what each kind of hardware can do, and how `lm` is lowered to it."""
