"""The serving part: artifact reader, executors, engine and daemon; no torch, no MLIR."""
