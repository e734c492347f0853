"""Named pipelines, one a file: a docstring that says what for, and `PASSES`."""
