"""`lm.expert_rows`: the matrices of all experts, one below the other."""

from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import require, require_same_type, require_tensor
from ingot.ir.costs import traffic
from ingot.ir.dialect import Quant
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Type, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.quant_tensor import QuantTensor
from ingot.ir.references import tensor_of
from ingot.ir.types import encoding_of, logical_type, shape_of, tensor_type


class ExpertRows(Op, name="expert_rows"):
    """w `[E, N, K]` as `[E·N, K]`, or `[E, N]` as `[E·N]`: the E experts' rows in their order.

    `transposed`: w is `[E, K, N]`.  `interleaved`: rows of gate and up alternate in w; in the
    result the gates of an expert come before its ups.
    """

    w: Value
    transposed: bool
    interleaved: bool
    out: OpResult

    def __init__(
        self,
        w: Value,
        *,
        transposed: bool = False,
        interleaved: bool = False,
        **place: Unpack[Place],
    ) -> None:
        attributes = {"transposed": transposed, "interleaved": interleaved}
        self.build([w], [_flat(w, transposed)], attributes, **place)

    def check(self) -> None:
        require_tensor("w", self.w)
        rank = len(shape_of(self.w))
        require(rank in (2, 3), f"needs w of 2 or 3 dimensions, found {self.w.type}")
        plain = encoding_of(self.w) is None
        message = f"cannot transpose {self.w.type}; lm.convert it first"
        require(not self.transposed or (plain and rank == 3), message)
        rows = shape_of(self.w)[2 if self.transposed else 1]
        require(not self.interleaved or rows % 2 == 0, f"cannot part {rows} rows into gate and up")
        target = _flat(self.w, self.transposed)
        require_same_type("the result", self.out, "the flattened w", target)

    def reference(self, *inputs: Datum) -> Tensor | QuantTensor:
        w = inputs[0]
        if not isinstance(w, QuantTensor):
            return self._arranged(tensor_of(w))
        offsets = None if w.offsets is None else self._arranged(w.offsets)
        return QuantTensor(w.encoding, self._arranged(w.values), self._arranged(w.scales), offsets)

    def _arranged(self, w: Tensor) -> Tensor:
        rows = w.transpose(1, 2) if self.transposed else w
        if self.interleaved:
            rows = torch.cat([rows[:, ::2], rows[:, 1::2]], dim=1)
        return rows.flatten(0, 1)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(0, traffic(self, tokens))


def _flat(w: Value, transposed: bool) -> Type:
    experts, rows, *columns = shape_of(w)
    if transposed and columns:
        rows, columns = columns[0], [rows]
    flat = tensor_type([experts * rows, *columns], logical_type(w).element_type)
    encoding = encoding_of(w)
    return flat if encoding is None else Quant.of(flat, encoding)
