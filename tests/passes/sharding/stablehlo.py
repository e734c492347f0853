"""The step of a dense decoder as StableHLO on whole values, with the shardings of its weights.

Written for the cross-check with Shardy: B sequences of T tokens each, attention over those alone.
What is computed is that of the `lm` operations but for masks, which move nothing between devices.
"""

from collections.abc import Callable, Sequence
from math import prod

from ingot.ir import (
    Activation,
    Add,
    Attention,
    Embedding,
    Glu,
    Linear,
    Mesh,
    Module,
    Op,
    Part,
    RmsNorm,
    Rope,
    SelectRows,
    Sharding,
    Value,
    Weight,
    func,
    shape_of,
    shardings_of,
)

BATCH, TOKENS = 2, 8


def stablehlo_text(module: Module) -> str:
    """Return the step of an annotated module; what no weight says is for Shardy to find."""
    mesh = module.mesh
    assert mesh is not None
    writer = _Writer(mesh)
    for op in module.step.entry_block.operations:
        if isinstance(op, func.ReturnOp):
            return writer.function(op.operands[0])
        writer.add(op)
    raise AssertionError("the step does not return")


class _Writer:
    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        batch = self._sharding(["dp" if mesh.size("dp") > 1 else "", ""])
        self.arguments = [f"%ids: {_type([BATCH, TOKENS], 'i32')} {{{batch}}}"]
        self.lines: list[str] = []
        self.names: dict[Value, str] = {}
        self.zero = self._line("stablehlo.constant dense<0.0> : tensor<f32>")

    def function(self, result: Value) -> str:
        axes = ["dp" if self.mesh.size("dp") > 1 else "", "", ""]
        kind = _type([BATCH, TOKENS, shape_of(result)[1]])
        body = "\n".join(self.lines)
        sizes = ", ".join(f'"{axis}"={size}' for axis, size in self.mesh.axes)
        return (
            f"sdy.mesh @mesh = <[{sizes}]>\n"
            f"func.func public @main({', '.join(self.arguments)}) -> "
            f"({kind} {{{self._sharding(axes)}}}) {{\n{body}\n"
            f"return {self.names[result]} : {kind}\n}}\n"
        )

    def add(self, op: Op) -> None:
        written: dict[type[Op], Callable[..., str]] = {
            Weight: self._weight,
            Embedding: self._embedding,
            Linear: self._linear,
            RmsNorm: self._rms_norm,
            Rope: self._rope,
            Attention: self._attention,
            Glu: lambda op: self._two("multiply", self._silu(op.gate), op.gate, op.up),
            Activation: self._activation,
            Add: self._add,
            SelectRows: lambda op: self.names[op.x],
        }
        self.names[op.results[0]] = written[type(op)](op)

    def _line(self, text: str) -> str:
        name = f"%v{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return name

    def _sharding(self, axes: Sequence[str]) -> str:
        """Return the attribute with one axis, or none, for each dimension."""
        dims = ", ".join(f"{{{axis if ':' in axis else _quoted(axis)}}}" for axis in axes)
        return f"sdy.sharding = #sdy.sharding<@mesh, [{dims}]>"

    def _weight(self, op: Weight) -> str:
        name = f"%w{len(self.arguments)}"
        rank = len(shape_of(op.out))
        (found,) = shardings_of(op, self.mesh) or (Sharding.replicated(rank),)
        axes = [self._axis(parts) for parts in found.dims]
        self.arguments.append(f"{name}: {_type(shape_of(op.out))} {{{self._sharding(axes)}}}")
        return name

    def _axis(self, parts: tuple[Part, ...]) -> str:
        if not parts:
            return ""
        (part,) = parts
        # Fewer parts than devices: the major part of the axis, which Shardy names by its size.
        whole = part.parts == self.mesh.size(part.axis)
        return part.axis if whole else f'"{part.axis}":(1){part.parts}'

    def _embedding(self, op: Embedding) -> str:
        rows, columns = shape_of(op.table)
        numbers = (
            "#stablehlo.gather<offset_dims = [2], collapsed_slice_dims = [0], "
            "start_index_map = [0], index_vector_dim = 2>"
        )
        return self._line(
            f'"stablehlo.gather"({self.names[op.table]}, %ids) <{{dimension_numbers = {numbers}, '
            f"slice_sizes = array<i64: 1, {columns}>}}> : ({_type([rows, columns])}, "
            f"{_type([BATCH, TOKENS], 'i32')}) -> {_rows(columns)}"
        )

    def _linear(self, op: Linear) -> str:
        outputs, inputs = shape_of(op.w)
        product = self._line(
            f"stablehlo.dot_general {self.names[op.x]}, {self.names[op.w]}, contracting_dims = "
            f"[2] x [1] : ({_rows(inputs)}, {_type([outputs, inputs])}) -> {_rows(outputs)}"
        )
        return product if op.bias is None else self._with_vector("add", product, op.bias)

    def _with_vector(self, kind: str, x: str, vector: Value) -> str:
        (size,) = shape_of(vector)
        wide = self._broadcast(self.names[vector], [size], [2], [BATCH, TOKENS, size])
        return self._line(f"stablehlo.{kind} {x}, {wide} : {_rows(size)}")

    def _add(self, op: Add) -> str:
        if len(shape_of(op.y)) == 1:
            return self._with_vector("add", self.names[op.x], op.y)
        return self._two("add", self.names[op.x], op.x, op.y)

    def _two(self, kind: str, first: str, x: Value, y: Value) -> str:
        return self._line(f"stablehlo.{kind} {first}, {self.names[y]} : {_rows(shape_of(x)[1])}")

    def _activation(self, op: Activation) -> str:
        """Whatever its kind, a function of single elements."""
        return self._line(f"stablehlo.tanh {self.names[op.x]} : {_rows(shape_of(op.x)[1])}")

    def _silu(self, x: Value) -> str:
        kind, name = _rows(shape_of(x)[1]), self.names[x]
        sigmoid = self._line(f"stablehlo.logistic {name} : {kind}")
        return self._line(f"stablehlo.multiply {name}, {sigmoid} : {kind}")

    def _rms_norm(self, op: RmsNorm) -> str:
        columns = shape_of(op.x)[1]
        shape = [BATCH, TOKENS, op.heads, columns // op.heads]
        x = self._reshape(self.names[op.x], [BATCH, TOKENS, columns], shape)
        square = self._line(f"stablehlo.multiply {x}, {x} : {_type(shape)}")
        inverse = self._line(f"stablehlo.rsqrt {self._sum(square, shape)} : {_type(shape[:3])}")
        wide = self._broadcast(inverse, shape[:3], [0, 1, 2], shape)
        normed = self._line(f"stablehlo.multiply {x}, {wide} : {_type(shape)}")
        w = self._broadcast(self.names[op.w], shape[3:], [3], shape)
        weighed = self._line(f"stablehlo.multiply {normed}, {w} : {_type(shape)}")
        return self._reshape(weighed, shape, [BATCH, TOKENS, columns])

    def _rope(self, op: Rope) -> str:
        """Turn halves by angles that are the frequencies themselves: positions move nothing."""
        columns = shape_of(op.x)[1]
        shape = [BATCH, TOKENS, op.heads, columns // op.heads]
        half = [*shape[:3], shape[3] // 2]
        x = self._reshape(self.names[op.x], [BATCH, TOKENS, columns], shape)
        angles = self._broadcast(self.names[op.inv_freq], half[3:], [3], half)
        parts = [self._half(x, shape, index) for index in (0, 1)]
        turned = []
        for first, second, sign in ((0, 1, "subtract"), (1, 0, "add")):
            a, b = (
                self._line(f"stablehlo.multiply {parts[place]}, {angles} : {_type(half)}")
                for place in (first, second)
            )
            turned.append(self._line(f"stablehlo.{sign} {a}, {b} : {_type(half)}"))
        joined = self._line(
            f"stablehlo.concatenate {turned[0]}, {turned[1]}, dim = 3 : "
            f"({_type(half)}, {_type(half)}) -> {_type(shape)}"
        )
        return self._reshape(joined, shape, [BATCH, TOKENS, columns])

    def _half(self, x: str, shape: Sequence[int], index: int) -> str:
        size = shape[3] // 2
        ranges = [f"0:{n}" for n in shape[:3]] + [f"{index * size}:{(index + 1) * size}"]
        half = _type([*shape[:3], size])
        return self._line(f"stablehlo.slice {x} [{', '.join(ranges)}] : ({_type(shape)}) -> {half}")

    def _attention(self, op: Attention) -> str:
        group, dim = op.heads // op.kv_heads, op.head_dim
        queries = [BATCH, TOKENS, op.kv_heads, group, dim]
        keys = [BATCH, TOKENS, op.kv_heads, dim]
        q = self._reshape(self.names[op.q], [BATCH, TOKENS, prod(queries[2:])], queries)
        k, v = (
            self._reshape(self.names[one], [BATCH, TOKENS, prod(keys[2:])], keys)
            for one in (op.k, op.v)
        )
        seen = [BATCH, op.kv_heads, TOKENS, group, TOKENS]
        scores = self._line(
            f"stablehlo.dot_general {q}, {k}, batching_dims = [0, 2] x [0, 2], contracting_dims = "
            f"[4] x [3] : ({_type(queries)}, {_type(keys)}) -> {_type(seen)}"
        )
        powers = self._line(f"stablehlo.exponential {scores} : {_type(seen)}")
        total = self._broadcast(self._sum(powers, seen), seen[:4], [0, 1, 2, 3], seen)
        shares = self._line(f"stablehlo.divide {powers}, {total} : {_type(seen)}")
        made = [BATCH, op.kv_heads, TOKENS, group, dim]
        values = self._line(
            f"stablehlo.dot_general {shares}, {v}, batching_dims = [0, 1] x [0, 2], "
            f"contracting_dims = [4] x [1] : ({_type(seen)}, {_type(keys)}) -> {_type(made)}"
        )
        rows = self._line(
            f"stablehlo.transpose {values}, dims = [0, 2, 1, 3, 4] : ({_type(made)}) -> "
            f"{_type(queries)}"
        )
        return self._reshape(rows, queries, [BATCH, TOKENS, op.heads * dim])

    def _sum(self, x: str, shape: Sequence[int]) -> str:
        """Return the sum over the last dimension."""
        return self._line(
            f"stablehlo.reduce({x} init: {self.zero}) applies stablehlo.add across dimensions = "
            f"[{len(shape) - 1}] : ({_type(shape)}, tensor<f32>) -> {_type(shape[:-1])}"
        )

    def _broadcast(
        self, x: str, found: Sequence[int], dims: Sequence[int], shape: Sequence[int]
    ) -> str:
        return self._line(
            f"stablehlo.broadcast_in_dim {x}, dims = {list(dims)} : ({_type(found)}) -> "
            f"{_type(shape)}"
        )

    def _reshape(self, x: str, found: Sequence[int], shape: Sequence[int]) -> str:
        if list(found) == list(shape):
            return x
        return self._line(f"stablehlo.reshape {x} : ({_type(found)}) -> {_type(shape)}")


def _quoted(axis: str) -> str:
    return f'"{axis}"' if axis else ""


def _rows(columns: int) -> str:
    return _type([BATCH, TOKENS, columns])


def _type(shape: Sequence[int], element: str = "f32") -> str:
    return f"tensor<{'x'.join(map(str, [*shape, element]))}>"
