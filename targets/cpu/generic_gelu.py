"""Spells out `aten.gelu` with the tanh approximation, before torch-mlir converts it.

torch-mlir 20261001 converts it with 0.797724 in place of √(2/π) = 0.797885: results are off by
1e-4.
"""

import math

from ingot.ir import InsertionPoint, Operation, Type, Value, ir


def expand_gelu_tanh(root: Operation) -> None:
    """Replace each `aten.gelu(x, "tanh")` by x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))."""
    found: list[Operation] = []

    def visit(op: Operation) -> ir.WalkResult:
        if op.name == "torch.aten.gelu" and _is_tanh(op.operands[1]):
            found.append(op)
        return ir.WalkResult.ADVANCE

    root.walk(visit)
    for op in found:
        with InsertionPoint(op), op.location:
            result = _expanded(op.operands[0], op.results[0].type)
        op.results[0].replace_all_uses_with(result)
        op.erase()


def _is_tanh(approximate: Value) -> bool:
    text: str = ir.StringAttr(approximate.owner.attributes["value"]).value
    return text == "tanh"


def _expanded(x: Value, kind: Type) -> Value:
    def call(name: str, *operands: Value) -> Value:
        op = Operation.create(f"torch.aten.{name}", results=[kind], operands=list(operands))
        return op.results[0]

    one = _constant("int", ir.IntegerAttr.get(ir.IntegerType.get_signless(64), 1))
    cube = call("mul.Tensor", call("mul.Tensor", x, x), x)
    inner = call("add.Tensor", x, call("mul.Scalar", cube, _float(0.044715)), one)
    bent = call("tanh", call("mul.Scalar", inner, _float(math.sqrt(2 / math.pi))))
    half = call("mul.Scalar", x, _float(0.5))
    return call("mul.Tensor", half, call("add.Scalar", bent, _float(1.0), one))


def _float(number: float) -> Value:
    return _constant("float", ir.FloatAttr.get_f64(number))


def _constant(kind: str, value: ir.Attribute) -> Value:
    result = Type.parse(f"!torch.{kind}")
    op = Operation.create(f"torch.constant.{kind}", results=[result], attributes={"value": value})
    return op.results[0]
