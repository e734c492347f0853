"""The intermediate representation: the `lm` dialect, encodings and the reference interpreter."""
