"""Small programs in StableHLO for tests of compiling and of reading what comes out."""


def linear_program(
    devices: int, inputs: int = 256, outputs: int = 512, weight: str = "bf16", tokens: int = 8
) -> str:
    """Return x `[tokens, inputs]` times w, summed over all devices and written to a cache."""
    group = ", ".join(map(str, range(devices)))
    x, w, y = (
        f"tensor<{tokens}x{inputs}xf32>",
        f"tensor<{inputs}x{outputs}x{weight}>",
        f"tensor<{tokens}x{outputs}xf32>",
    )
    kv = f"tensor<64x{outputs}xf32>"
    return f"""
module @linear attributes {{mhlo.num_replicas = {devices} : i32, mhlo.num_partitions = 1 : i32}} {{
  func.func public @main(%x: {x}, %w: {w}, %kv: {kv} {{tf.aliasing_output = 1 : i32}})
      -> ({y}, {kv}) {{
    %f = stablehlo.convert %w : ({w}) -> tensor<{inputs}x{outputs}xf32>
    %p = stablehlo.dot_general %x, %f, contracting_dims = [1] x [0]
      : ({x}, tensor<{inputs}x{outputs}xf32>) -> {y}
    %s = "stablehlo.all_reduce"(%p) ({{
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %c = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %c : tensor<f32>
    }}) {{replica_groups = dense<[[{group}]]> : tensor<1x{devices}xi64>}} : ({y}) -> {y}
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %k = stablehlo.dynamic_update_slice %kv, %s, %zero, %zero
      : ({kv}, {y}, tensor<i32>, tensor<i32>) -> {kv}
    return %s, %k : {y}, {kv}
  }}
}}
"""


def loop_program(devices: int, layers: int = 4, size: int = 512, bound: str = "constant") -> str:
    """Return layers in a loop, each a product with an int8 weight that is widened and a sum.

    `bound` "constant" makes the number of rounds known, "argument" makes it an input.
    """
    group = ", ".join(map(str, range(devices)))
    x, wide = f"tensor<8x{size}xf32>", f"tensor<{size}x{size}xf32>"
    weights, one = f"tensor<{layers}x{size}x{size}xi8>", f"tensor<1x{size}x{size}xi8>"
    last = (
        f"stablehlo.constant dense<{layers}> : tensor<i32>"
        if bound == "constant"
        else "stablehlo.reshape %n : (tensor<1xi32>) -> tensor<i32>"
    )
    return f"""
module @loop attributes {{mhlo.num_replicas = {devices} : i32, mhlo.num_partitions = 1 : i32}} {{
  func.func public @main(%n: tensor<1xi32>, %x: {x}, %w: {weights}) -> {x} {{
    %last = {last}
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %r:2 = stablehlo.while(%i = %zero, %y = %x) : tensor<i32>, {x}
    cond {{
      %more = stablehlo.compare LT, %i, %last : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    }} do {{
      %s = stablehlo.dynamic_slice %w, %i, %zero, %zero, sizes = [1, {size}, {size}]
        : ({weights}, tensor<i32>, tensor<i32>, tensor<i32>) -> {one}
      %m = stablehlo.reshape %s : ({one}) -> tensor<{size}x{size}xi8>
      %f = stablehlo.convert %m : (tensor<{size}x{size}xi8>) -> {wide}
      %p = stablehlo.dot_general %y, %f, contracting_dims = [1] x [0] : ({x}, {wide}) -> {x}
      %t = "stablehlo.all_reduce"(%p) ({{
      ^bb0(%a: tensor<f32>, %b: tensor<f32>):
        %c = stablehlo.add %a, %b : tensor<f32>
        stablehlo.return %c : tensor<f32>
      }}) {{replica_groups = dense<[[{group}]]> : tensor<1x{devices}xi64>}} : ({x}) -> {x}
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %j, %t : tensor<i32>, {x}
    }}
    return %r#1 : {x}
  }}
}}
"""


def grouped_program(size: int = 1024, group: int = 128) -> str:
    """Return a product with an int4 weight scaled by groups before the product.

    No compiler keeps that in one kernel: it writes the whole weight in bfloat16 first.
    """
    parts = size // group
    x, out = f"tensor<8x{size}xbf16>", f"tensor<8x{size}xf32>"
    coded, cut = f"tensor<{parts}x{group}x{size}xi4>", f"tensor<{parts}x{group}x{size}xbf16>"
    scale, flat = f"tensor<{parts}x{size}xbf16>", f"tensor<{size}x{size}xbf16>"
    return f"""
module @grouped {{
  func.func public @main(%x: {x}, %w: {coded}, %s: {scale}) -> {out} {{
    %f = stablehlo.convert %w : ({coded}) -> {cut}
    %b = stablehlo.broadcast_in_dim %s, dims = [0, 2] : ({scale}) -> {cut}
    %m = stablehlo.multiply %f, %b : {cut}
    %r = stablehlo.reshape %m : ({cut}) -> {flat}
    %p = stablehlo.dot_general %x, %r, contracting_dims = [1] x [0] : ({x}, {flat}) -> {out}
    return %p : {out}
  }}
}}
"""
