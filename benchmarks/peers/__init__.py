"""Measures Ingot beside other runtimes for the CPU.

Each runtime runs in a process of an environment of its own (`worker_*.py`) and answers requests
over a pipe (`protocol.py`).  Nothing here may import more than the standard library, because every
environment imports it.
"""
