"""Published numbers of accelerators: what a device holds, reads, computes and sends.

They are peaks as the makers state them, and serve to rank plans, not to promise speeds.  A device
is what a program runs on: a TPU chip, or one of the two halves of a TPU7x chip.  Link bandwidth
is that of all links of a device together, in one direction.

Latencies are not published.  One microsecond for a hop between TPUs and two for a message through
an NVLink switch are assumptions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True)
class Hardware:
    """One device: bytes, bytes a second, operations a second by type of the factors, seconds."""

    name: str
    memory_bytes: int
    memory_bandwidth: float
    flops: Mapping[str, float]
    link_bandwidth: float
    link_latency_s: float
    source: str


GOOGLE = "Google Cloud TPU documentation, system architecture of the generation"
NVIDIA = "NVIDIA data sheet of the SXM module, dense (not sparse) peaks"


def _tpu(
    name: str, gib: float, gigabytes: float, bfloat16: float, int8: float, links: float
) -> Hardware:
    """Return a TPU device; teraoperations, and gigabytes a second of all links, both directions."""
    # The matrix unit multiplies bfloat16; a float32 product of full precision takes six passes.
    flops = {"float32": bfloat16 / 6 * 1e12, "bfloat16": bfloat16 * 1e12, "int8": int8 * 1e12}
    return Hardware(name, int(gib * GIB), gigabytes * 1e9, flops, links / 2 * 1e9, 1e-6, GOOGLE)


def _gpu(
    name: str, gigabytes: float, float32: float, bfloat16: float, int8: float, links: float
) -> Hardware:
    """Return a GPU of 80 GB; `links` is the gigabytes a second of NVLink, both directions."""
    flops = {"float32": float32 * 1e12, "bfloat16": bfloat16 * 1e12, "int8": int8 * 1e12}
    return Hardware(name, 80 * 10**9, gigabytes * 1e9, flops, links / 2 * 1e9, 2e-6, NVIDIA)


TPU_V4 = _tpu("TPU v4", 32, 1200, 275, 275, 600)
"""cloud.google.com/tpu/docs/v4: 32 GiB, 1200 GB/s, 275 TFLOPS (bf16 or int8); 6 links of 50."""
TPU_V5E = _tpu("TPU v5e", 16, 819, 197, 393, 400)
"""cloud.google.com/tpu/docs/v5e: 16 GB, 819 GB/s, 197 TFLOPS bf16, 393 TOPS int8, 400 GB/s."""
TPU_V5P = _tpu("TPU v5p", 95, 2765, 459, 918, 1200)
"""cloud.google.com/tpu/docs/v5p: 95 GB, 2765 GB/s, 459 TFLOPS bf16, 918 TOPS int8, 1200 GB/s."""
TPU_V6E = _tpu("TPU v6e", 32, 1638, 918, 1836, 800)
"""cloud.google.com/tpu/docs/v6e: 32 GB, 1638 GB/s, 918 TFLOPS bf16, 1836 TOPS int8, 800 GB/s."""
TPU_7X = _tpu("TPU7x", 96, 3690, 1153.5, 1153.5, 600)
"""cloud.google.com/tpu/docs/tpu7x, half a chip of 192 GiB, 7380 GB/s, 2307 TFLOPS bf16, 1200 GB/s.

No peak is published for int8, so it counts as bfloat16 does (fp8 has twice as many).
"""

A100 = _gpu("A100 80GB", 2039, 19.5, 312, 624, 600)
A800 = _gpu("A800 80GB", 2039, 19.5, 312, 624, 400)
H100 = _gpu("H100 80GB", 3350, 67, 989, 1979, 900)
H800 = _gpu("H800 80GB", 3350, 67, 989, 1979, 400)
