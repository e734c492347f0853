"""`lm.quantize`: a float weight stored in an encoding."""

from typing import Unpack

from ingot.ir.checks import require, require_float, require_shape
from ingot.ir.costs import elements_of, traffic
from ingot.ir.dialect import Quant
from ingot.ir.encoding import Encoding
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.quant_tensor import QuantTensor
from ingot.ir.references import tensor_of
from ingot.ir.rounding import quantize
from ingot.ir.types import float_tensor, shape_of


class Quantize(Op, name="quantize"):
    """`w` rounded to the encoding of the result type; `ir/rounding.py` says how."""

    w: Value
    out: OpResult

    def __init__(
        self,
        w: Value,
        encoding: Encoding | str,
        **place: Unpack[Place],
    ) -> None:
        logical = float_tensor(shape_of(w), w.context)
        self.build([w], [Quant.of(logical, encoding)], **place)

    def check(self) -> None:
        require_float("w", self.w)
        require(isinstance(self.out.type, Quant), f"makes !lm.quant, found {self.out.type}")
        encoding = self.out.type.encoding
        require(not encoding.activation, f"rounds weights; {encoding} is for activations: lm.round")
        require(len(shape_of(self.w)) >= 2, f"needs w of 2 dimensions, found {self.w.type}")
        require_shape("the result", self.out, shape_of(self.w))

    def reference(self, *inputs: Datum) -> QuantTensor:
        return quantize(tensor_of(inputs[0]), self.out.type.encoding)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(2 * elements_of(self.w, tokens), traffic(self, tokens))
