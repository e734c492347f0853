"""The program of a mesh, run on all its devices, computes what one device computes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ingot.ir import (
    Add,
    AllGather,
    AllReduce,
    Attention,
    Batch,
    Combine,
    Context,
    Dispatch,
    Embedding,
    Experts,
    ExpertUnit,
    Glu,
    Interpreter,
    Linear,
    LocalIds,
    Location,
    MergeAttention,
    Mesh,
    MeshInterpreter,
    Module,
    PartialAttention,
    ReduceScatter,
    RmsNorm,
    Route,
    SelectRows,
    SendRecv,
    Shard,
    Value,
    Weight,
    build_module,
    float_tensor,
    interpreter_of,
)

VOCABULARY, H, HEADS, KV_HEADS, DIM, F, EXPERTS, LAYERS = 24, 16, 4, 2, 8, 8, 4, 2
PAGE = 2
SHAPES = {
    "embed": (VOCABULARY, H),
    "q": (HEADS * DIM, H),
    "k": (KV_HEADS * DIM, H),
    "v": (KV_HEADS * DIM, H),
    "o": (H, HEADS * DIM),
    "o_bias": (H,),
    "sinks": (HEADS,),
    "norm": (H,),
    "gate": (F, H),
    "up": (F, H),
    "down": (H, F),
    "router": (EXPERTS, H),
    "experts_up": (EXPERTS * 2 * F, H),
    "experts_down": (EXPERTS * H, F),
    "head": (VOCABULARY, H),
}


@dataclass(frozen=True)
class Writer:
    """Writes the program of one device of `mesh` for a small model with one layer of experts."""

    mesh: Mesh
    rows: bool = False
    """Whether tokens are divided along tp between the layers."""

    def __call__(self, tokens: Value, positions: Value, batch: Value) -> Value:
        x = self.embedding(tokens)
        for layer in range(LAYERS):
            if layer and self.mesh.size("pp") > 1:
                x = SendRecv(x, stage=1).out
            x = Add(x, self.attention(self.normed(x, layer), batch, layer)).out
            block = self.experts if layer else self.mlp
            x = Add(x, block(self.normed(x, layer), layer)).out
        x = SelectRows(self.normed(x, 0), batch).out
        logits = Linear(x, self.weight("head", 0, dim=0)).out
        return self.gathered(logits, "tp", dim=1)

    def weight(self, name: str, layer: int, dim: int | None = None, parts: int = 0) -> Value:
        kind = float_tensor(SHAPES[name], self.context)
        whole = Weight(f"{name}.{layer}", kind).out
        tp = self.mesh.size("tp")
        if dim is None or tp == 1:
            return whole
        return Shard(whole, axis="tp", size=tp, parts=parts, dim=dim).out

    @property
    def context(self) -> Context:
        found = Location.current.context
        assert isinstance(found, Context)
        return found

    def normed(self, x: Value, layer: int) -> Value:
        y = RmsNorm(x, self.weight("norm", layer), eps=1e-5).out
        return self.gathered(y, "tp", dim=0) if self.rows else y

    def gathered(self, x: Value, axis: str, dim: int) -> Value:
        size = self.mesh.size(axis)
        return x if size == 1 else AllGather(x, axis=axis, size=size, dim=dim).out

    def summed(self, x: Value) -> Value:
        size = self.mesh.size("tp")
        if size == 1:
            return x
        if self.rows:
            return ReduceScatter(x, axis="tp", size=size, dim=0).out
        return AllReduce(x, axis="tp", size=size).out

    def embedding(self, tokens: Value) -> Value:
        size = self.mesh.size("tp")
        if size > 1:
            tokens = LocalIds(tokens, axis="tp", size=size, rows=VOCABULARY // size).out
        return self.summed(Embedding(tokens, self.weight("embed", 0, dim=0)).out)

    def attention(self, x: Value, batch: Value, layer: int) -> Value:
        tp, cp = self.mesh.size("tp"), self.mesh.size("cp")
        parts = min(tp, KV_HEADS)
        q = Linear(x, self.weight("q", layer, dim=0)).out
        k, v = (Linear(x, self.weight(n, layer, dim=0, parts=parts)).out for n in ("k", "v"))
        sinks = self.weight("sinks", layer, dim=0)
        heads = HEADS // tp
        numbers: dict[str, Any] = {
            "layer": layer,
            "heads": heads,
            "kv_heads": KV_HEADS // parts,
            "head_dim": DIM,
        }
        if cp == 1:
            y = Attention(q, k, v, batch, sinks, scale=0.3, window=9, **numbers).out
        else:
            along: dict[str, Any] = {"axis": "cp", "size": cp}
            part = PartialAttention(
                q, k, v, batch, sinks, scale=0.3, window=9, page_tokens=PAGE, **along, **numbers
            )
            y = MergeAttention(part.out, part.lse, heads=heads, **along).out
        y = self.summed(Linear(y, self.weight("o", layer, dim=1)).out)
        return Add(y, self.weight("o_bias", layer)).out

    def mlp(self, x: Value, layer: int) -> Value:
        gate, up = (Linear(x, self.weight(n, layer, dim=0)).out for n in ("gate", "up"))
        hidden = Glu(gate, up, kind="silu").out
        return self.summed(Linear(hidden, self.weight("down", layer, dim=1)).out)

    def experts(self, x: Value, layer: int) -> Value:
        ep, tp = self.mesh.size("ep"), self.mesh.size("tp")
        route = Route(Linear(x, self.weight("router", layer)).out, experts_per_token=2)
        up, down = (self.weight(f"experts_{n}", layer) for n in ("up", "down"))
        indices, weights = route.indices, route.weights
        if ep > 1:
            along: dict[str, Any] = {"axis": "ep", "size": ep, "experts": EXPERTS}
            up, down = (Shard(w, axis="ep", size=ep).out for w in (up, down))
            sent = Dispatch(x, indices, weights, **along)
            x, indices, weights = sent.out, sent.local_indices, sent.local_weights
        own = EXPERTS // ep
        if tp > 1:
            # Gates and ups of every expert are blocks of which each device has a part.
            up = Shard(up, axis="tp", size=tp, dim=0, blocks=2 * own).out
            down = Shard(down, axis="tp", size=tp, dim=1).out
        y = Experts(x, indices, weights, up, down, experts=own, unit=ExpertUnit()).out
        if ep > 1:
            y = Combine(y, route.indices, **along).out
        return self.summed(y)


def program(mesh: str, rows: bool = False) -> Module:
    parsed = Mesh.parse(mesh)
    return build_module(Writer(parsed, rows), None if parsed.devices == 1 else parsed)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        f"{name}.{layer}": torch.randn(shape, generator=generator) / shape[-1] ** 0.5
        for name, shape in SHAPES.items()
        for layer in range(LAYERS)
    }


Steps = tuple[tuple[int, ...], ...]
# Tokens of each sequence in each step; a sequence that is not yet there has none.
MIXED: Steps = ((5, 1, 3), (1, 4, 1, 7), (1, 1, 1, 2, 1), (3, 1, 1, 1, 6))


def run(module: Module, weights: Mapping[str, Tensor], steps: Steps) -> list[Tensor]:
    """Return the logits of every step; in the second, of some rows in an order of their own."""
    interpreter = interpreter_of(module, weights, torch.float64)
    assert isinstance(interpreter, MeshInterpreter if module.mesh else Interpreter)
    generator = torch.Generator().manual_seed(1)
    batch, lengths, found = Batch([0]), [0] * 8, []
    for number, counts in enumerate(steps):
        starts = [sum(counts[:index]) for index in range(len(counts) + 1)]
        rows = [starts[-1] - 1, 0, 2] if number == 1 else None
        batch = replace(batch, starts=starts, rows=rows)
        tokens = torch.randint(VOCABULARY, (starts[-1],), generator=generator)
        places = [torch.arange(lengths[s], lengths[s] + n) for s, n in enumerate(counts)]
        found.append(interpreter.step(tokens, torch.cat(places), batch))
        lengths = [length + n for length, n in zip(lengths, [*counts, *[0] * 8], strict=False)]
    return found


MESHES = [
    *("tp2", "tp4", "cp2", "cp3", "dp2", "dp3", "dp8", "ep2", "ep4", "pp2"),
    *("dp2xtp2", "tp2xdp2", "tp2xcp2", "cp2xtp4", "pp2xtp2", "dp2xep2", "ep2xtp2", "dp2xpp2xcp2"),
]


@pytest.fixture(scope="module")
def expected(weights: dict[str, Tensor]) -> list[Tensor]:
    return run(program("tp1"), weights, MIXED)


@pytest.mark.parametrize("mesh", MESHES)
def test_a_mesh_computes_what_one_device_does(
    mesh: str, weights: dict[str, Tensor], expected: list[Tensor]
) -> None:
    for one, other in zip(run(program(mesh), weights, MIXED), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mesh", ["tp2", "tp4", "dp2xtp2", "tp2xcp2"])
def test_tokens_are_divided_between_layers(
    mesh: str, weights: dict[str, Tensor], expected: list[Tensor]
) -> None:
    for one, other in zip(run(program(mesh, rows=True), weights, MIXED), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
