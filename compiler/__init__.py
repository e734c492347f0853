"""The driver: it takes a checkpoint through models, passes and a target to an artifact."""
