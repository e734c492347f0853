"""The target that compiles everything and runs nothing."""
