"""The corpus: every causal language model of transformers, small, compiled and compared."""
