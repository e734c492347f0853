"""Compiling StableHLO with XLA for CPUs, TPUs and GPUs: a worker, its errors, its results."""

from .compiler import ProgramCompiler, compile_program, program_key
from .cuda import GPUS, Gpu
from .failures import CompileError, OutOfMemory
from .requirements import require
from .results import Compiled, Memory, TopologyFacts

__all__ = [
    "GPUS",
    "CompileError",
    "Compiled",
    "Gpu",
    "Memory",
    "OutOfMemory",
    "ProgramCompiler",
    "TopologyFacts",
    "compile_program",
    "program_key",
    "require",
]
