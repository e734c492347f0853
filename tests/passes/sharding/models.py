"""Small decoders as `lift` leaves real ones: the forms that architectures give the same layers."""

from dataclasses import dataclass, replace

from ingot.ir import (
    Activation,
    Add,
    AddConstant,
    Arrange,
    Attention,
    Embedding,
    Encoding,
    ExpertRows,
    Experts,
    ExpertUnit,
    Glu,
    LayerNorm,
    Linear,
    Module,
    Mul,
    Piece,
    Pool,
    Quant,
    RmsNorm,
    Rope,
    Route,
    Slice,
    Softcap,
    Transpose,
    Value,
    Weight,
    build_module,
    columns_of,
    float_tensor,
)
from ingot.passes import parse_pipeline


@dataclass(frozen=True)
class Form:
    """Sizes of a decoder, and what its architecture does its own way."""

    layers: int = 2
    hidden: int = 32
    heads: int = 8
    kv_heads: int = 2
    head_dim: int = 8
    inner: int = 64
    vocabulary: int = 96
    tied: bool = False
    bias: bool = False
    head_norms: bool = False
    whole_norms: bool = False
    window: int = 0
    softcap: float = 0.0
    sinks: bool = False
    post_norms: bool = False
    fused: bool = False
    gated: bool = True
    rotated: bool = True
    learned_positions: bool = False
    latent: bool = False
    parallel: bool = False
    experts: int = 0
    expert_biases: bool = False
    shared_expert: bool = False
    encoding: str = ""
    pooling: str = ""


LLAMA = Form()
WIDE = replace(LLAMA, hidden=64, head_dim=16, inner=256)
"""Wide enough for whole groups of encodings on four devices."""
FORMS = {
    "llama": LLAMA,
    "qwen2": replace(LLAMA, bias=True, tied=True),
    "qwen3": replace(LLAMA, head_norms=True),
    "mistral": replace(LLAMA, window=5),
    "mixtral": replace(LLAMA, experts=8),
    "qwen2-moe": replace(LLAMA, bias=True, experts=8, shared_expert=True),
    "qwen3-moe": replace(LLAMA, head_norms=True, experts=8),
    "gpt-oss": replace(LLAMA, bias=True, sinks=True, experts=8, expert_biases=True),
    "gemma2": replace(LLAMA, softcap=5.0, post_norms=True, tied=True, window=4),
    "phi3": replace(LLAMA, fused=True),
    "gpt2": replace(
        LLAMA, kv_heads=8, bias=True, fused=True, gated=False, rotated=False, learned_positions=True
    ),
    "olmo2": replace(LLAMA, whole_norms=True, post_norms=True),
    "deepseek": replace(LLAMA, kv_heads=8, latent=True, experts=8, shared_expert=True),
    "falcon": replace(LLAMA, parallel=True, gated=False),
    "wide": WIDE,
    "wide-moe": replace(WIDE, experts=4),
    "stored-int4": replace(WIDE, experts=4, encoding="int4-g32"),
    "stored-int8": replace(WIDE, encoding="int8"),
}


def decoder(form: Form) -> Module:
    """Return the step of a decoder, raised, with the rows that want logits selected."""
    module = build_module(lambda *inputs: _Decoder(form, *inputs).logits())
    parse_pipeline("canonicalize,fold-arrangements,select-rows").run(module)
    return module


@dataclass
class _Decoder:
    form: Form
    tokens: Value
    positions: Value
    batch: Value

    def logits(self) -> Value:
        form = self.form
        table = self._weight("embed", form.vocabulary, form.hidden)
        x = Embedding(self.tokens, table).out
        if form.learned_positions:
            learned = self._weight("positions", 64, form.hidden)
            x = Add(x, Embedding(self.positions, learned).out).out
        for layer in range(form.layers):
            x = self._layer(layer, x)
        if form.pooling:
            return Pool(self._norm("norm", x), self.batch, kind=form.pooling).out
        head = table if form.tied else self._weight("head", form.vocabulary, form.hidden)
        logits = Linear(self._norm("norm", x), head).out
        return Softcap(logits, cap=form.softcap).out if form.softcap else logits

    def _layer(self, layer: int, x: Value) -> Value:
        name = f"layers.{layer}"
        normed = self._norm(f"{name}.norm1", x)
        attended = self._attention(layer, normed)
        if self.form.parallel:
            return Add(Add(attended, self._unit(name, normed)).out, x).out
        if self.form.post_norms:
            attended = self._norm(f"{name}.after1", attended)
        x = Add(x, attended).out
        made = self._unit(name, self._norm(f"{name}.norm2", x))
        if self.form.post_norms:
            made = self._norm(f"{name}.after2", made)
        return Add(x, made).out

    def _attention(self, layer: int, x: Value) -> Value:
        form, name = self.form, f"layers.{layer}.attn"
        q, k, v = self._latent(name, x) if form.latent else self._projected(name, x)
        if form.head_norms:
            q = self._head_norm(f"{name}.q_norm", q, form.heads)
            k = self._head_norm(f"{name}.k_norm", k, form.kv_heads)
        if form.whole_norms:
            q, k = self._norm(f"{name}.q_norm", q), self._norm(f"{name}.k_norm", k)
        if form.rotated:
            inv_freq = self._vector("inv_freq", form.head_dim // 2)
            q = Rope(q, self.positions, inv_freq, heads=form.heads).out
            if not form.latent:
                k = Rope(k, self.positions, inv_freq, heads=form.kv_heads).out
        attended = Attention(
            q,
            k,
            v,
            self.batch,
            self._vector(f"{name}.sinks", form.heads) if form.sinks else None,
            layer=layer,
            heads=form.heads,
            kv_heads=form.kv_heads,
            head_dim=form.head_dim,
            scale=form.head_dim**-0.5,
            window=form.window if layer == 0 else 0,
            softcap=form.softcap,
        ).out
        return self._linear(f"{name}.o", attended, form.hidden)

    def _projected(self, name: str, x: Value) -> list[Value]:
        form = self.form
        sizes = [form.heads * form.head_dim] + 2 * [form.kv_heads * form.head_dim]
        if not form.fused:
            return [self._linear(f"{name}.{n}", x, s) for n, s in zip("qkv", sizes, strict=True)]
        fused = self._linear(f"{name}.qkv", x, sum(sizes))
        starts = [sum(sizes[:index]) for index in range(3)]
        return [Slice(fused, offset=a, size=n).out for a, n in zip(starts, sizes, strict=True)]

    def _latent(self, name: str, x: Value) -> list[Value]:
        """Return q, k, v of latent attention: half of a key is shared by all heads."""
        form = self.form
        heads, half = form.heads, form.head_dim // 2
        q = self._linear(f"{name}.q", x, heads * form.head_dim)
        down = self._linear(f"{name}.kv_a", x, 16 + half)
        latent = self._norm(f"{name}.kv_norm", Slice(down, offset=0, size=16).out)
        shared = Rope(
            Slice(down, offset=16, size=half).out,
            self.positions,
            self._vector("shared_freq", half // 2),
            heads=1,
        ).out
        width = half + form.head_dim
        up = self._linear(f"{name}.kv_b", latent, heads * width)
        own, whole = Piece(0, 0, width, 1, half), Piece(1, 0, 0, 1, half)
        k = Arrange([up, shared], heads=heads, pieces=(own, whole)).out
        values = Piece(0, half, width, 1, form.head_dim)
        return [q, k, Arrange([up], heads=heads, pieces=(values,)).out]

    def _unit(self, name: str, x: Value) -> Value:
        form = self.form
        if not form.experts:
            return self._feed_forward(f"{name}.mlp", x)
        made = self._experts(f"{name}.moe", x)
        if not form.shared_expert:
            return made
        gate = Activation(
            Linear(x, self._weight(f"{name}.gate", 1, form.hidden)).out, kind="sigmoid"
        )
        wide = Arrange([gate.out], heads=1, pieces=(Piece(0, 0, 0, 0, form.hidden),)).out
        return Add(made, Mul(self._feed_forward(f"{name}.shared", x), wide).out).out

    def _feed_forward(self, name: str, x: Value) -> Value:
        form = self.form
        if not form.gated:
            inside = Activation(self._linear(f"{name}.up", x, form.inner), kind="gelu_tanh").out
        elif form.fused:
            both = self._linear(f"{name}.gate_up", x, 2 * form.inner)
            gate, up = (Slice(both, offset=i * form.inner, size=form.inner).out for i in (0, 1))
            inside = Glu(gate, up, kind="silu").out
        else:
            gate, up = (self._linear(f"{name}.{n}", x, form.inner) for n in ("gate", "up"))
            inside = Glu(gate, up, kind="silu").out
        return self._linear(f"{name}.down", inside, form.hidden)

    def _experts(self, name: str, x: Value) -> Value:
        form, inner = self.form, self.form.inner // 2
        count, hidden = form.experts, form.hidden
        logits = Linear(x, self._weight(f"{name}.router", count, hidden)).out
        route = Route(logits, experts_per_token=2, score="softmax", normalize=True)
        up = ExpertRows(self._stored(f"{name}.up", count, 2 * inner, hidden))
        down = ExpertRows(self._stored(f"{name}.down", count, hidden, inner))
        biases: list[Value | None] = [None, None]
        if form.expert_biases:
            up = ExpertRows(
                self._weight(f"{name}.up", count, hidden, 2 * inner),
                transposed=True,
                interleaved=True,
            )
            biases = [
                ExpertRows(self._weight(f"{name}.up_bias", count, 2 * inner), interleaved=True).out,
                ExpertRows(self._weight(f"{name}.down_bias", count, hidden)).out,
            ]
        unit = ExpertUnit("silu")
        return Experts(
            x, route.indices, route.weights, up.out, down.out, *biases, experts=count, unit=unit
        ).out

    def _linear(self, name: str, x: Value, rows: int) -> Value:
        bias = self._vector(f"{name}.bias", rows) if self.form.bias else None
        if self.form.learned_positions:
            # As GPT-2 stores them.
            return Linear(x, Transpose(self._weight(name, columns_of(x), rows)).out, bias).out
        return Linear(x, self._stored(name, rows, columns_of(x)), bias).out

    def _norm(self, name: str, x: Value) -> Value:
        w = self._vector(name, columns_of(x))
        if self.form.learned_positions:
            return LayerNorm(x, w, self._vector(f"{name}.bias", columns_of(x)), eps=1e-5).out
        if self.form.softcap:
            w = AddConstant(w, constant=1.0).out
        return RmsNorm(x, w, eps=1e-6).out

    def _head_norm(self, name: str, x: Value, heads: int) -> Value:
        w = self._vector(name, self.form.head_dim)
        return RmsNorm(x, w, eps=1e-6, heads=heads).out

    def _vector(self, name: str, size: int) -> Value:
        return self._weight(name, size)

    def _stored(self, name: str, *shape: int) -> Value:
        """Return a weight that the checkpoint may store encoded."""
        kind = float_tensor(list(shape), self.tokens.context)
        encoding = self.form.encoding
        return Weight(name, Quant.of(kind, Encoding.parse(encoding)) if encoding else kind).out

    def _weight(self, name: str, *shape: int) -> Value:
        return Weight(name, float_tensor(list(shape), self.tokens.context)).out
