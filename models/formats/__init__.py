"""The formats of checkpoints: Hugging Face folders and GGUF files, as names and tensors."""
