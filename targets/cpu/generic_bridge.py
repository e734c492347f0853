"""What crosses into a remainder and out of it, and the MLIR that carries it over.

Outside are buffers, rows any distance apart; inside are torch's tensors, with a leading 1 and
64-bit indices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ingot.ir import DYNAMIC, RankedTensorType, Type, vtensor_parts


@dataclass(frozen=True)
class Passed:
    """An argument or result: sizes (`DYNAMIC` first where it has a row a token) and element types.

    `outer` is the element type in memory, `inner` that of the torch value, which has a leading 1 if
    there is a row a token.
    """

    shape: tuple[int, ...]
    outer: str
    inner: str

    @property
    def per_token(self) -> bool:
        """Whether it is a buffer with a row a token, and not a weight."""
        return bool(self.shape) and self.shape[0] == DYNAMIC

    @property
    def element_bytes(self) -> int:
        """Size of an element in memory."""
        return -(-int(self.outer.lstrip("bfi")) // 8)

    @property
    def strides(self) -> tuple[int | None, ...]:
        """Elements between neighbours along each dimension; None: known at run time."""
        strides: list[int | None] = [1] * len(self.shape)
        for place in reversed(range(len(self.shape) - 1)):
            strides[place] = (strides[place + 1] or 1) * self.shape[place + 1]
        return (None, *strides[1:]) if self.per_token else tuple(strides)


def passed_of(builtin: Type, vtensor: Type) -> Passed:
    """Describe a value by its types outside and inside the remainder."""
    kind = RankedTensorType(builtin)
    inner = vtensor_parts(vtensor)[1].replace("si", "i")
    return Passed(tuple(kind.shape), str(kind.element_type), inner)


def entry_text(inputs: Sequence[Passed], outputs: Sequence[Passed]) -> str:
    """Return a module whose `entry` brings memrefs to tensors and back around `torch_body`."""
    parameters = [f"%a{i}: {_memref(p)}" for i, p in enumerate(inputs)]
    parameters += [f"%r{i}: {_memref(p)}" for i, p in enumerate(outputs)]
    lines = [
        "%zero = arith.constant 0 : index",
        f"%tokens = memref.dim %r0, %zero : {_memref(outputs[0])}",
    ]
    for i, p in enumerate(inputs):
        lines += _bring(i, p)
    operands = ", ".join(f"%t{i}" for i in range(len(inputs)))
    kind = f"({', '.join(_inner(p) for p in inputs)}) -> ({', '.join(_inner(p) for p in outputs)})"
    lines.append(f"%c:{len(outputs)} = func.call @torch_body({operands}) : {kind}")
    for i, p in enumerate(outputs):
        lines += _write_back(i, p)
    return (
        f"func.func private @torch_body{kind}\n"
        f"func.func @entry({', '.join(parameters)}) {{\n" + "\n".join(lines) + "\nreturn\n}\n"
    )


def _bring(i: int, p: Passed) -> list[str]:
    memory, plain, wide = _memref(p), _tensor(p.shape, p.outer), _tensor(p.shape, p.inner)
    lines = [f"%m{i} = bufferization.to_tensor %a{i} restrict : {memory} to {plain}"]
    if p.inner == p.outer:
        lines.append(f"%w{i} = tensor.cast %m{i} : {plain} to {plain}")
    else:
        lines.append(f"%w{i} = arith.extsi %m{i} : {plain} to {wide}")
    if not p.per_token:
        return [*lines, f"%t{i} = tensor.cast %w{i} : {wide} to {wide}"]
    sizes = ", ".join(["1", "%tokens", *map(str, p.shape[1:])])
    return [
        *lines,
        f"%t{i} = tensor.expand_shape %w{i} {_groups(p)} output_shape [{sizes}]"
        f" : {wide} into {_inner(p)}",
    ]


def _write_back(i: int, p: Passed) -> list[str]:
    assert p.per_token, "a remainder's results have a row a token"
    wide, plain = _tensor(p.shape, p.inner), _tensor(p.shape, p.outer)
    lines = [f"%d{i} = tensor.collapse_shape %c#{i} {_groups(p)} : {_inner(p)} into {wide}"]
    convert = "tensor.cast" if p.inner == p.outer else "arith.trunci"
    return [
        *lines,
        f"%e{i} = {convert} %d{i} : {wide} to {plain}",
        f"bufferization.materialize_in_destination %e{i} in restrict writable %r{i}"
        f" : ({plain}, {_memref(p)}) -> ()",
    ]


def _groups(p: Passed) -> str:
    rest = [[place + 1] for place in range(1, len(p.shape))]
    return str([[0, 1], *rest])


def _tensor(shape: Sequence[int], element: str) -> str:
    sizes = "".join("?x" if size == DYNAMIC else f"{size}x" for size in shape)
    return f"tensor<{sizes}{element}>"


def _inner(p: Passed) -> str:
    return _tensor((1, *p.shape) if p.per_token else p.shape, p.inner)


def _memref(p: Passed) -> str:
    plain = _tensor(p.shape, p.outer).removeprefix("tensor<").removesuffix(">")
    if not p.per_token:
        return f"memref<{plain}>"
    strides = ", ".join("?" if stride is None else str(stride) for stride in p.strides)
    return f"memref<{plain}, strided<[{strides}]>>"
