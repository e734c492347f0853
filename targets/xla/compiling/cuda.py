"""NVIDIA GPUs as XLA's compiler is told of them, so that none need be there.

The numbers are those that the CUDA driver reports of each module, as the specifications of XLA's
own `hlo-opt` tool list them.  The A800 and the H800 are an A100 and an H100 with slower links.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU; bytes, bytes a second, GHz."""

    description: str
    capability: int
    processors: int
    cores_per_processor: int
    shared_memory: int
    cache: int
    clock: float
    memory: int
    memory_bandwidth: int

    def target_config(self) -> str:
        """Return XLA's `GpuTargetConfigProto` as text."""
        return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {self.shared_memory}
  threads_per_core_limit: 2048
  core_count: {self.processors}
  fpus_per_core: {self.cores_per_processor}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {self.memory_bandwidth}
  l2_cache_size: {self.cache}
  clock_rate_ghz: {self.clock}
  device_memory_size: {self.memory}
  shared_memory_per_block_optin: {self.shared_memory - 1024}
  cuda_compute_capability {{ major: {self.capability} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
runtime_version {{ major: 12 minor: 8 }}
dnn_version_info {{ major: 9 minor: 7 }}
device_description_str: "{self.description}"
"""


_AMPERE = (8, 108, 64, 167936, 41943040, 1.41, 85100068864, 2039040000000)
_HOPPER = (9, 132, 128, 233472, 52428800, 1.98, 84929347584, 3352320000000)
_A100 = Gpu("NVIDIA A100-SXM4-80GB", *_AMPERE)
_H100 = Gpu("NVIDIA H100 80GB HBM3", *_HOPPER)

GPUS = {
    "sm80": _A100,
    "sm90": _H100,
    "a100": _A100,
    "a800": Gpu("NVIDIA A800-SXM4-80GB", *_AMPERE),
    "h100": _H100,
    "h800": Gpu("NVIDIA H800", *_HOPPER),
}
"""GPUs by the name of a topology."""
