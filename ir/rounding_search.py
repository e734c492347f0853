"""The search for the scale that errs least, as loops that are compiled for this machine.

torch goes over a tensor ten times for every candidate; a loop reads sixteen groups once and tries
all candidates on them in registers.  Operations and their order are those of torch, so the choice
is the same to the bit: `tests/ir/test_rounding_search.py` compares them.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .mlir import Context, ExecutionEngine, MlirModule, PassManager, plain_address

LANES = 16
"""Groups that are looked at together."""
LEAST_GROUPS = 2048
"""Groups for which torch takes no longer than it takes to compile the loop, once."""
BLOCK = 16
"""Squares that torch adds up before it adds them to the sum of the blocks before."""
MOST_ELEMENTS = 240
"""Elements of a group up to which torch adds in two levels."""

_Function = Callable[..., None]

# What both loops begin with.
_CONSTANTS = f"""
  %zero = arith.constant 0 : i64
  %one = arith.constant 1 : i64
  %lanes = arith.constant {LANES} : i64
  %block = arith.constant {BLOCK} : i64
  %none = arith.constant dense<0.0> : vector<{LANES}xf32>
  %unit = arith.constant dense<1.0> : vector<{LANES}xf32>
  %most = arith.constant dense<15.0> : vector<{LANES}xf32>
"""

# Element %k of the groups from %group on, %x, and its code as floats, less the offset.
_CENTRED_CODE = f"""
          %x_row = arith.muli %k, %groups : i64
          %x_at = arith.addi %x_row, %group : i64
          %element_ptr = llvm.getelementptr %x_ptr[%x_at] : (!llvm.ptr, i64) -> !llvm.ptr, f32
          %x = llvm.load %element_ptr {{alignment = 4}} : !llvm.ptr -> vector<{LANES}xf32>
          %quotient = arith.divf %x, %divisor : vector<{LANES}xf32>
          %shifted = arith.addf %quotient, %offset : vector<{LANES}xf32>
          %rounded = math.roundeven %shifted : vector<{LANES}xf32>
          %above = arith.maximumf %rounded, %none : vector<{LANES}xf32>
          %code = arith.minimumf %above, %most : vector<{LANES}xf32>
          %centred = arith.subf %code, %offset : vector<{LANES}xf32>
          %magnitude = math.absf %x : vector<{LANES}xf32>
"""

# %x: [size, groups]; %scales, %offsets: [candidates, groups]; %best: [groups].
_SEARCH = f"""
func.func @search(%x_ptr: !llvm.ptr, %scales_ptr: !llvm.ptr, %offsets_ptr: !llvm.ptr,
                  %best_ptr: !llvm.ptr, %size: i64, %groups: i64, %candidates: i64) {{
  {_CONSTANTS}
  %first = arith.constant dense<0> : vector<{LANES}xi32>
  %huge = arith.constant dense<0x7F800000> : vector<{LANES}xf32>
  scf.for %group = %zero to %groups step %lanes : i64 {{
    %found:2 = scf.for %candidate = %zero to %candidates step %one
        iter_args(%least = %huge, %place = %first)
        -> (vector<{LANES}xf32>, vector<{LANES}xi32>) : i64 {{
      %row = arith.muli %candidate, %groups : i64
      %at = arith.addi %row, %group : i64
      %scale_ptr = llvm.getelementptr %scales_ptr[%at] : (!llvm.ptr, i64) -> !llvm.ptr, f32
      %offset_ptr = llvm.getelementptr %offsets_ptr[%at] : (!llvm.ptr, i64) -> !llvm.ptr, f32
      %scale = llvm.load %scale_ptr {{alignment = 4}} : !llvm.ptr -> vector<{LANES}xf32>
      %offset = llvm.load %offset_ptr {{alignment = 4}} : !llvm.ptr -> vector<{LANES}xf32>
      %is_zero = arith.cmpf oeq, %scale, %none : vector<{LANES}xf32>
      %divisor = arith.select %is_zero, %unit, %scale
          : vector<{LANES}xi1>, vector<{LANES}xf32>
      %error = scf.for %start = %zero to %size step %block
          iter_args(%sum = %none) -> (vector<{LANES}xf32>) : i64 {{
        %end = arith.addi %start, %block : i64
        %part = scf.for %k = %start to %end step %one
            iter_args(%partial = %none) -> (vector<{LANES}xf32>) : i64 {{
          {_CENTRED_CODE}
          %value = arith.mulf %centred, %scale : vector<{LANES}xf32>
          %difference = arith.subf %value, %x : vector<{LANES}xf32>
          %square = arith.mulf %difference, %difference : vector<{LANES}xf32>
          %weighted = arith.mulf %square, %magnitude : vector<{LANES}xf32>
          %next = arith.addf %partial, %weighted : vector<{LANES}xf32>
          scf.yield %next : vector<{LANES}xf32>
        }}
        %more = arith.addf %sum, %part : vector<{LANES}xf32>
        scf.yield %more : vector<{LANES}xf32>
      }}
      %better = arith.cmpf olt, %error, %least : vector<{LANES}xf32>
      %number = arith.trunci %candidate : i64 to i32
      %numbers = vector.broadcast %number : i32 to vector<{LANES}xi32>
      %now = arith.select %better, %error, %least : vector<{LANES}xi1>, vector<{LANES}xf32>
      %there = arith.select %better, %numbers, %place
          : vector<{LANES}xi1>, vector<{LANES}xi32>
      scf.yield %now, %there : vector<{LANES}xf32>, vector<{LANES}xi32>
    }}
    %out = llvm.getelementptr %best_ptr[%group] : (!llvm.ptr, i64) -> !llvm.ptr, i32
    llvm.store %found#1, %out {{alignment = 4}} : vector<{LANES}xi32>, !llvm.ptr
  }}
  return
}}
"""
# %x: [size, groups]; %scales, %offsets: [groups]; %fitted: [2, groups], the two sums.
_FIT = f"""
func.func @fit(%x_ptr: !llvm.ptr, %scales_ptr: !llvm.ptr, %offsets_ptr: !llvm.ptr,
               %fitted_ptr: !llvm.ptr, %size: i64, %groups: i64) {{
  {_CONSTANTS}
  scf.for %group = %zero to %groups step %lanes : i64 {{
    %scale_ptr = llvm.getelementptr %scales_ptr[%group] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %offset_ptr = llvm.getelementptr %offsets_ptr[%group] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %scale = llvm.load %scale_ptr {{alignment = 4}} : !llvm.ptr -> vector<{LANES}xf32>
    %offset = llvm.load %offset_ptr {{alignment = 4}} : !llvm.ptr -> vector<{LANES}xf32>
    %is_zero = arith.cmpf oeq, %scale, %none : vector<{LANES}xf32>
    %divisor = arith.select %is_zero, %unit, %scale : vector<{LANES}xi1>, vector<{LANES}xf32>
    %sums:2 = scf.for %start = %zero to %size step %block
        iter_args(%above_sum = %none, %below_sum = %none)
        -> (vector<{LANES}xf32>, vector<{LANES}xf32>) : i64 {{
      %end = arith.addi %start, %block : i64
      %parts:2 = scf.for %k = %start to %end step %one
          iter_args(%above_part = %none, %below_part = %none)
          -> (vector<{LANES}xf32>, vector<{LANES}xf32>) : i64 {{
          {_CENTRED_CODE}
          %weighted = arith.mulf %centred, %magnitude : vector<{LANES}xf32>
          %product = arith.mulf %weighted, %x : vector<{LANES}xf32>
          %square = arith.mulf %weighted, %centred : vector<{LANES}xf32>
          %above_next = arith.addf %above_part, %product : vector<{LANES}xf32>
          %below_next = arith.addf %below_part, %square : vector<{LANES}xf32>
          scf.yield %above_next, %below_next : vector<{LANES}xf32>, vector<{LANES}xf32>
      }}
      %above_more = arith.addf %above_sum, %parts#0 : vector<{LANES}xf32>
      %below_more = arith.addf %below_sum, %parts#1 : vector<{LANES}xf32>
      scf.yield %above_more, %below_more : vector<{LANES}xf32>, vector<{LANES}xf32>
    }}
    %below_at = arith.addi %groups, %group : i64
    %above_ptr = llvm.getelementptr %fitted_ptr[%group] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %below_ptr = llvm.getelementptr %fitted_ptr[%below_at] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    llvm.store %sums#0, %above_ptr {{alignment = 4}} : vector<{LANES}xf32>, !llvm.ptr
    llvm.store %sums#1, %below_ptr {{alignment = 4}} : vector<{LANES}xf32>, !llvm.ptr
  }}
  return
}}
"""
_LOWERING = (
    "builtin.module(convert-scf-to-cf,convert-vector-to-llvm,convert-math-to-llvm,"
    "convert-to-llvm,reconcile-unrealized-casts)"
)


def can_search(size: int, groups: int) -> bool:
    """Return whether groups of `size` elements can be searched, and are enough to be worth it."""
    return groups >= LEAST_GROUPS and size % BLOCK == 0 and size <= MOST_ELEMENTS


def best_of_grid(x: Tensor, scales: Tensor, offsets: Tensor) -> Tensor:
    """Return the candidate of the least error for each group, the first among equals.

    `x` is `[size, groups]`, `scales` and `offsets` are `[candidates, groups]`, all float32 and
    contiguous; the result is int64 `[groups]`.  A code is `clamp(round(x / scale + offset), 0,
    15)`, its value `(code - offset) * scale`, the error of an element its square times |x|.
    """
    groups = x.shape[1]
    _check(x, scales, offsets)
    if groups % LANES:
        return _in_two(best_of_grid, x, scales, offsets)
    best = torch.empty(groups, dtype=torch.int32)
    pointers = (x.data_ptr(), scales.data_ptr(), offsets.data_ptr(), best.data_ptr())
    _compiled().search(*pointers, *x.shape, len(scales))
    return best.to(torch.int64)


def fit_sums(x: Tensor, scales: Tensor, offsets: Tensor) -> Tensor:
    """Return the two sums over each group whose quotient is its best scale for the same codes.

    `x` is `[size, groups]`, `scales` and `offsets` are `[groups]`, all float32 and contiguous; the
    result is float32 `[2, groups]`: the sums of `c |x| x` and `c |x| c` with `c = code - offset`.
    """
    groups = x.shape[1]
    _check(x, scales, offsets)
    if groups % LANES:
        return _in_two(fit_sums, x, scales, offsets)
    sums = torch.empty(2, groups)
    pointers = (x.data_ptr(), scales.data_ptr(), offsets.data_ptr(), sums.data_ptr())
    _compiled().fit(*pointers, *x.shape)
    return sums


def _check(x: Tensor, scales: Tensor, offsets: Tensor) -> None:
    size, groups = x.shape
    assert groups >= LANES and size % BLOCK == 0 and size <= MOST_ELEMENTS
    assert all(t.is_contiguous() and t.dtype == torch.float32 for t in (x, scales, offsets))


def _in_two(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Run a function of groups on whole lanes, and on the last lanes with some before them."""
    groups = tensors[0].shape[-1]
    whole = groups // LANES * LANES
    first, last = (
        function(*(t[..., part].contiguous() for t in tensors))
        for part in (slice(0, whole), slice(groups - LANES, groups))
    )
    return torch.cat([first, last[..., LANES - (groups - whole) :]], dim=-1)


@dataclass(frozen=True)
class _Compiled:
    """The two loops, and the engine that owns their code."""

    search: _Function
    fit: _Function
    engine: ExecutionEngine


@cache
def _compiled() -> _Compiled:
    with Context():
        module = MlirModule.parse(_SEARCH + _FIT)
        PassManager.parse(_LOWERING).run(module.operation)
        engine = ExecutionEngine(module, opt_level=3)
    pointers = [ctypes.c_void_p] * 4
    search = ctypes.CFUNCTYPE(None, *pointers, *[ctypes.c_int64] * 3)
    fit = ctypes.CFUNCTYPE(None, *pointers, *[ctypes.c_int64] * 2)
    return _Compiled(
        search(plain_address(engine, "search")), fit(plain_address(engine, "fit")), engine
    )
