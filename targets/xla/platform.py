"""What XLA compiles for: a platform and the shape in which its devices stand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

PlatformName = Literal["cpu", "tpu", "cuda", "none"]


@dataclass(frozen=True)
class Platform:
    """One platform, as its compiler is told of it.

    `topology` is `v5e:2x4` for TPUs and `sm80`, `sm90` for GPUs; empty for the CPU.  `devices` is
    how many devices the topology has, 0 where it has as many as a mesh asks for.  `options` are
    what the plugin takes beside the topology's name, such as `chip_config_name`.  `none` is that of
    a target which runs nothing.
    """

    name: PlatformName
    topology: str = ""
    devices: int = 0
    options: Mapping[str, str | tuple[int, ...]] = field(default_factory=dict)
