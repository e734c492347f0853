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
