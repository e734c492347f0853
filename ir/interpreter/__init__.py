"""The reference interpreter: what a module means, in plain torch."""
