"""`lm.round`: activations rounded for kernels that multiply integers or bfloat16."""

from typing import Unpack

from ingot.ir.checks import require, require_activation, require_shape
from ingot.ir.costs import elements_of, traffic
from ingot.ir.dialect import Quant
from ingot.ir.encoding import ACTIVATION, Encoding
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.quant_tensor import QuantTensor
from ingot.ir.references import tensor_of
from ingot.ir.rounding import round_activations
from ingot.ir.types import activation_type, columns_of, encoding_of, is_rounded, shape_of


class Round(Op, name="round"):
    """x in an encoding of activations: scale = max|x| / 127 of a group, half to even.

    `int8-act`: groups of 32 features; `int8-row`: all of them.  `bf16-act` is x in bfloat16.
    """

    x: Value
    out: OpResult

    def __init__(self, x: Value, encoding: Encoding = ACTIVATION, **place: Unpack[Place]) -> None:
        plain = activation_type(columns_of(x), x.context)
        self.build([x], [Quant.of(plain, encoding)], **place)

    def check(self) -> None:
        require_activation("x", self.x)
        require(
            is_rounded(self.out), f"makes int8-act, int8-row or bf16-act, found {self.out.type}"
        )
        require_shape("the result", self.out, shape_of(self.x))

    def reference(self, *inputs: Datum) -> QuantTensor:
        encoding = encoding_of(self.out)
        assert encoding is not None
        return round_activations(tensor_of(inputs[0]), encoding)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(4 * elements_of(self.x, tokens), traffic(self, tokens))
