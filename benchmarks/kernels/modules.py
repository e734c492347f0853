"""The text of the modules whose kernels are measured."""

from .steps import VOCABULARY

_STEP = "func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch)"


def linears(encoding: str, k: int, n: int, count: int) -> str:
    """`count` linears of one input: weights in `encoding`, or "float32" or "bfloat16"."""
    floats = {"float32": f"tensor<{n}x{k}xf32>", "bfloat16": f"tensor<{n}x{k}xbf16>"}
    weight = floats.get(encoding, f'!lm.quant<tensor<{n}x{k}xf32>, "{encoding}">')
    activation = {"float32": "", "bfloat16": "bf16-act"}.get(encoding, "int8-act")
    row = f"tensor<?x{k}xf32>"
    rounded = f'!lm.quant<{row}, "{activation}">' if activation else row
    lines = [_embedding(k)]
    if activation:
        lines.append(f'%r = "lm.round"(%x) : ({row}) -> {rounded}')
    for number in range(count):
        lines.append(f'%w{number} = "lm.weight"() {{symbol = "w{number}"}} : () -> {weight}')
        lines.append(
            f'%y{number} = "lm.linear"(%{"r" if activation else "x"}, %w{number}) '
            "{operandSegmentSizes = array<i32: 1, 1, 0>} "
            f": ({rounded}, {weight}) -> tensor<?x{n}xf32>"
        )
    return _function(lines, k)


def rowwise(features: int, hidden: int) -> str:
    """Norms, sums with norms, rounding and gated units, over rows of an embedding."""
    wide, row, act = 2 * hidden, f"tensor<?x{features}xf32>", f"tensor<?x{hidden}xf32>"
    rounded = f'!lm.quant<{row}, "int8-act">'
    weight = f"tensor<{features}xf32>"
    return _function(
        [
            _embedding(wide),
            _slice("g", "x", wide, 0, hidden),
            _slice("u", "x", wide, hidden, hidden),
            _slice("a", "x", wide, 0, features),
            _slice("c", "x", wide, hidden, features),
            f'%w = "lm.weight"() {{symbol = "norm"}} : () -> {weight}',
            f'%n = "lm.rms_norm"(%a, %w) {{eps = 1.0e-6 : f64, heads = 1 : i64}} '
            f": ({row}, {weight}) -> {row}",
            f'%s, %m = "lm.add_rms_norm"(%a, %c, %w) {{eps = 1.0e-6 : f64, heads = 1 : i64}} '
            f": ({row}, {row}, {weight}) -> ({row}, {rounded})",
            f'%r = "lm.round"(%a) : ({row}) -> {rounded}',
            f'%h = "lm.glu"(%g, %u) {{kind = "silu"}} '
            f': ({act}, {act}) -> !lm.quant<{act}, "int8-act">',
        ],
        wide,
    )


def attention(heads: int, kv_heads: int, head_dim: int, layers: int) -> str:
    """Layers that rotate queries and keys, write the cache and attend."""
    q, kv = heads * head_dim, kv_heads * head_dim
    wide = q + 2 * kv
    shapes = f"(tensor<?x{q}xf32>, tensor<?x{kv}xf32>, tensor<?x{kv}xf32>, !lm.batch)"
    lines = [
        _embedding(wide),
        f'%f = "lm.weight"() {{symbol = "inv_freq"}} : () -> tensor<{head_dim // 2}xf32>',
    ]
    for layer in range(layers):
        lines += [
            _slice(f"q{layer}", "x", wide, 0, q),
            _slice(f"k{layer}", "x", wide, q, kv),
            _slice(f"v{layer}", "x", wide, q + kv, kv),
            _rope(f"qr{layer}", f"q{layer}", heads, q, head_dim),
            _rope(f"kr{layer}", f"k{layer}", kv_heads, kv, head_dim),
            f'%a{layer} = "lm.attention"(%qr{layer}, %kr{layer}, %v{layer}, %b) '
            f"{{layer = {layer} : i64, heads = {heads} : i64, kv_heads = {kv_heads} : i64, "
            f"head_dim = {head_dim} : i64, value_dim = 0 : i64, scale = 0.125 : f64, "
            "causal = true, window = 0 : i64, chunk = 0 : i64, softcap = 0.0 : f64, "
            "operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>} "
            f": {shapes} -> tensor<?x{q}xf32>",
        ]
    return _function(lines, wide)


def embeddings(encoding: str, features: int, rows: int) -> str:
    """A lookup in a table of `rows` in an encoding."""
    table = f'!lm.quant<tensor<{rows}x{features}xf32>, "{encoding}">'
    lookup = f'%e = "lm.embedding"(%t, %big) : (tensor<?xi32>, {table}) -> tensor<?x{features}xf32>'
    weight = f'%big = "lm.weight"() {{symbol = "big"}} : () -> {table}'
    return _function([_embedding(64), weight, lookup], 64)


def _function(lines: list[str], columns: int) -> str:
    """Return the step of these lines; its logits are of the rows `%x`."""
    row, logits = f"tensor<?x{columns}xf32>", f"tensor<?x{VOCABULARY}xf32>"
    last = [
        f'%last = "lm.select_rows"(%x, %b) : ({row}, !lm.batch) -> {row}',
        '%logits = "lm.linear"(%last, %table) {operandSegmentSizes = array<i32: 1, 1, 0>} '
        f": ({row}, tensor<{VOCABULARY}x{columns}xf32>) -> {logits}",
        f"return %logits : {logits}",
    ]
    return f"{_STEP} -> {logits} {{\n  " + "\n  ".join([*lines, *last]) + "\n}\n"


def _embedding(columns: int) -> str:
    table = f"tensor<{VOCABULARY}x{columns}xf32>"
    return (
        f'%table = "lm.weight"() {{symbol = "table"}} : () -> {table}\n'
        f'  %x = "lm.embedding"(%t, %table) : (tensor<?xi32>, {table}) -> tensor<?x{columns}xf32>'
    )


def _slice(name: str, source: str, columns: int, offset: int, size: int) -> str:
    return (
        f'%{name} = "lm.slice"(%{source}) {{offset = {offset} : i64, size = {size} : i64}} '
        f": (tensor<?x{columns}xf32>) -> tensor<?x{size}xf32>"
    )


def _rope(name: str, source: str, heads: int, columns: int, head_dim: int) -> str:
    row = f"tensor<?x{columns}xf32>"
    return (
        f'%{name} = "lm.rope"(%{source}, %p, %f) {{heads = {heads} : i64, scale = 1.0 : f64, '
        "interleaved = false, offset = 0 : i64} "
        f": ({row}, tensor<?xi32>, tensor<{head_dim // 2}xf32>) -> {row}"
    )
