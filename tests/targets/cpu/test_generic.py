"""Remainders of torch ops compiled by the general route, against torch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ingot.errors import UnsupportedError
from ingot.ir import Batch, Interpreter, Module
from ingot.targets.cpu import generic_worker
from ingot.targets.cpu.generic import remainder_kernel
from ingot.targets.cpu.kernel import Kernel
from ingot.targets.cpu.levels import GENERIC

Jit = Callable[..., Any]

# Two results, a matrix as weight, token ids, sizes read at run time, reductions, a softmax.
MIXED = """
func.func private @remainder_0(
    %x: tensor<?x24xf32>, %w: tensor<40x24xf32>, %ids: tensor<?xi32>, %table: tensor<9x24xf32>)
    -> (tensor<?x40xf32>, tensor<?x24xf32>, tensor<?x4x6xf32>) {
  %0 = "lm.to_torch"(%x) : (tensor<?x24xf32>) -> !torch.vtensor<[1,?,24],f32>
  %1 = "lm.to_torch"(%w) : (tensor<40x24xf32>) -> !torch.vtensor<[40,24],f32>
  %2 = "lm.to_torch"(%ids) : (tensor<?xi32>) -> !torch.vtensor<[1,?],si64>
  %3 = "lm.to_torch"(%table) : (tensor<9x24xf32>) -> !torch.vtensor<[9,24],f32>
  %none = torch.constant.none
  %false = torch.constant.bool false
  %true = torch.constant.bool true
  %last = torch.constant.int -1
  %one = torch.constant.int 1
  %zero = torch.constant.int 0
  %two = torch.constant.int 2
  %four = torch.constant.int 4
  %six = torch.constant.int 6
  %eps = torch.constant.float 1.0e-5
  %row = torch.aten.embedding %3, %2, %zero, %false, %false
    : !torch.vtensor<[9,24],f32>, !torch.vtensor<[1,?],si64>, !torch.int, !torch.bool, !torch.bool
    -> !torch.vtensor<[1,?,24],f32>
  %sum = torch.aten.add.Tensor %0, %row, %one
    : !torch.vtensor<[1,?,24],f32>, !torch.vtensor<[1,?,24],f32>, !torch.int
    -> !torch.vtensor<[1,?,24],f32>
  %order = torch.prim.ListConstruct %one, %zero : (!torch.int, !torch.int) -> !torch.list<int>
  %turned = torch.aten.permute %1, %order
    : !torch.vtensor<[40,24],f32>, !torch.list<int> -> !torch.vtensor<[24,40],f32>
  %product = torch.aten.matmul %sum, %turned
    : !torch.vtensor<[1,?,24],f32>, !torch.vtensor<[24,40],f32> -> !torch.vtensor<[1,?,40],f32>
  %soft = torch.aten._softmax %product, %last, %false
    : !torch.vtensor<[1,?,40],f32>, !torch.int, !torch.bool -> !torch.vtensor<[1,?,40],f32>
  %square = torch.aten.pow.Tensor_Scalar %0, %two
    : !torch.vtensor<[1,?,24],f32>, !torch.int -> !torch.vtensor<[1,?,24],f32>
  %dims = torch.prim.ListConstruct %last : (!torch.int) -> !torch.list<int>
  %mean = torch.aten.mean.dim %square, %dims, %true, %none
    : !torch.vtensor<[1,?,24],f32>, !torch.list<int>, !torch.bool, !torch.none
    -> !torch.vtensor<[1,?,1],f32>
  %safe = torch.aten.add.Scalar %mean, %eps, %one
    : !torch.vtensor<[1,?,1],f32>, !torch.float, !torch.int -> !torch.vtensor<[1,?,1],f32>
  %factor = torch.aten.rsqrt %safe
    : !torch.vtensor<[1,?,1],f32> -> !torch.vtensor<[1,?,1],f32>
  %normed = torch.aten.mul.Tensor %0, %factor
    : !torch.vtensor<[1,?,24],f32>, !torch.vtensor<[1,?,1],f32> -> !torch.vtensor<[1,?,24],f32>
  %tokens = torch.aten.size.int %0, %one : !torch.vtensor<[1,?,24],f32>, !torch.int -> !torch.int
  %sizes = torch.prim.ListConstruct %one, %tokens, %four, %six
    : (!torch.int, !torch.int, !torch.int, !torch.int) -> !torch.list<int>
  %heads = torch.aten.view %normed, %sizes
    : !torch.vtensor<[1,?,24],f32>, !torch.list<int> -> !torch.vtensor<[1,?,4,6],f32>
  %4 = "lm.from_torch"(%soft) : (!torch.vtensor<[1,?,40],f32>) -> tensor<?x40xf32>
  %5 = "lm.from_torch"(%normed) : (!torch.vtensor<[1,?,24],f32>) -> tensor<?x24xf32>
  %6 = "lm.from_torch"(%heads) : (!torch.vtensor<[1,?,4,6],f32>) -> tensor<?x4x6xf32>
  return %4, %5, %6 : tensor<?x40xf32>, tensor<?x24xf32>, tensor<?x4x6xf32>
}
"""

UNARY = """
func.func private @remainder_0(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {{
  %0 = "lm.to_torch"(%x) : (tensor<?x8xf32>) -> !torch.vtensor<[1,?,8],f32>
  %mode = torch.constant.str "tanh"
  %1 = {op} -> !torch.vtensor<[1,?,8],f32> loc("model.layers.3.mlp"("modeling_new.py":12:3))
  %2 = "lm.from_torch"(%1) : (!torch.vtensor<[1,?,8],f32>) -> tensor<?x8xf32>
  return %2 : tensor<?x8xf32>
}}
"""


def rows(data: np.ndarray, width: int) -> np.ndarray:
    """Return rows of `width` floats that begin with `data`; the others are NaN."""
    buffer = np.full((len(data), width), np.nan, np.float32)
    buffer[:, : data.shape[1]] = data
    return buffer


def kernel_of(text: str) -> Kernel:
    """Return the kernel of a module's only function."""
    module = Module.parse(text)
    return remainder_kernel(module.functions[0])


def test_a_remainder_computes_what_torch_does_whoever_computes_which_rows(
    jit: Jit, level: Any, lowered_in_process: None
) -> None:
    module = Module.parse(MIXED)
    (function,) = module.functions
    kernel = remainder_kernel(function)
    assert [slot.name for slot in kernel.slots] == [
        *("x0", "x0_stride", "x1", "x2", "x2_stride", "x3"),
        *("y0", "y0_stride", "y1", "y1_stride", "y2", "y2_stride"),
    ]
    random = np.random.default_rng(1)
    x, w, table = (
        random.standard_normal(s).astype(np.float32) for s in ((7, 24), (40, 24), (9, 24))
    )
    ids = random.integers(0, 9, 7).astype(np.int32)
    inputs = [torch.from_numpy(value) for value in (x, w, ids, table)]
    expected = Interpreter(module, {})._run(function, inputs, Batch.single(7))
    source = rows(x, 48)
    results = [np.full((8, width), 77, np.float32) for width in (64, 32, 48)]
    outputs = [part for result in results for part in (result, result.strides[0])]
    slots = [source, source.strides[0], w, ids, 4, table, *outputs]
    loaded = jit([kernel], level)
    for begin, end in ((0, 3), (3, 3), (3, 7)):
        loaded(kernel.name, slots, begin, end)
    for result, value in zip(results, expected, strict=True):
        features = value[0].numel()
        exact = value.reshape(7, features).numpy()
        np.testing.assert_allclose(result[:7, :features], exact, rtol=2e-5, atol=2e-6)
        assert (result[7] == 77).all() and (result[:, features:] == 77).all()


def test_gelu_tanh_has_the_right_constant(jit: Jit, lowered_in_process: None) -> None:
    op = "torch.aten.gelu %0, %mode : !torch.vtensor<[1,?,8],f32>, !torch.str"
    kernel = kernel_of(UNARY.format(op=op))
    x = np.linspace(-4, 4, 24, dtype=np.float32).reshape(3, 8)
    result = np.zeros_like(x)
    jit([kernel], GENERIC)(kernel.name, [x, 32, result, 32], 0, 3)
    expected = torch.nn.functional.gelu(torch.from_numpy(x), approximate="tanh").numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


def test_two_remainders_live_in_one_object(jit: Jit, lowered_in_process: None) -> None:
    text = UNARY.format(op="torch.aten.exp %0 : !torch.vtensor<[1,?,8],f32>")
    other = text.replace("aten.exp", "aten.neg").replace("remainder_0", "remainder_1")
    kernels = [kernel_of(text), kernel_of(other)]
    loaded = jit(kernels, GENERIC)
    x = np.linspace(-1, 1, 8, dtype=np.float32)[None]
    for kernel, function in zip(kernels, (np.exp, np.negative), strict=True):
        result = np.zeros_like(x)
        loaded(kernel.name, [x, 32, result, 32], 0, 1)
        np.testing.assert_allclose(result, function(x), rtol=1e-6)


def test_an_op_that_cannot_be_converted_is_named_with_its_place() -> None:
    op = 'torch.operator "torch.aten.special_i1"(%0) : (!torch.vtensor<[1,?,8],f32>)'
    with pytest.raises(UnsupportedError, match="special_i1") as error:
        kernel_of(UNARY.format(op=op))
    assert error.value.where == "model.layers.3.mlp (modeling_new.py:12)"


def test_a_crash_of_the_conversion_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    crash = "import os, sys; sys.stdin.read(); os.abort()"
    monkeypatch.setattr("ingot.targets.cpu.generic._COMMAND", ["python3", "-c", crash])
    with pytest.raises(UnsupportedError, match=r"status -6: aten\.exp"):
        kernel_of(UNARY.format(op="torch.aten.exp %0 : !torch.vtensor<[1,?,8],f32>"))


@pytest.fixture
def lowered_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert here, not in a process of its own: that takes seconds to start."""

    def convert(name: str, request: dict[str, str]) -> str:
        return generic_worker.lower(request["body"], request["entry"], request["name"])

    monkeypatch.setattr("ingot.targets.cpu.generic._convert", convert)
