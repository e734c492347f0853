"""Absorbs constant factors into weights, where they cost nothing."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

from ingot.ir import Convert, Linear, Module, Scale, Value, encoding_of, weight_symbols
from ingot.passes import Contract, Pass, only_user, option, pattern, producer, replace, rewrite
from ingot.passes import rounding as rounded_to


@dataclass(frozen=True)
class AbsorbScales(Pass):
    """Fold the factor by which a linear's result is scaled into its weight and bias.

    Run it before `quantize`: weights that are stored in an encoding stay as they are, and so do
    those that something else reads too.
    """

    contract: ClassVar[Contract] = rounded_to(1e-6)

    without: str = option("", help="names of weights to leave alone, as in lm_head.*")

    def run(self, module: Module) -> None:
        @pattern
        def absorb(op: Scale) -> None:
            linear = producer(op.x, Linear)
            if linear is None or not self._is_free(linear):
                return
            bias = None if linear.bias is None else _scaled(linear.bias, op.factor)
            replace(op, Linear(linear.x, _scaled(linear.w, op.factor), bias).out)

        rewrite(module, [absorb])

    def _is_free(self, linear: Linear) -> bool:
        if encoding_of(linear.w) is not None or only_user(linear.w, Linear) is None:
            return False
        names = weight_symbols(linear.w)
        is_left = any(fnmatchcase(name, self.without) for name in names)
        return not is_left and only_user(linear.out, Scale) is not None


def _scaled(weight: Value, factor: float) -> Value:
    """Return a weight times `factor`, in float32: in fewer bits the product would be rounded."""
    wide = weight if str(weight.type.element_type) == "f32" else Convert(weight, "f32").out
    return Scale(wide, factor=factor).out
