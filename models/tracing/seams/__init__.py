"""Opaque operators in place of what mixes tokens or experts: one file a seam.

Importing a seam registers it with transformers; `use_seams` makes models ask for it.
"""

from transformers import PretrainedConfig

from . import attention, experts
from .long_rotary import keep_frequencies as keep_frequencies
from .long_rotary import position_limit as position_limit
from .masks import looking_through as looking_through
from .own_attention import adapt_attention as adapt_attention
from .own_attention import allow_own_classes
from .own_experts import adapt_experts as adapt_experts
from .own_rotary import adapt_rotary as adapt_rotary
from .state import opaque_states as opaque_states


def use_seams(config: PretrainedConfig) -> None:
    """Make models that are built from `config` call the opaque operators."""
    config._attn_implementation = attention.IMPLEMENTATION
    config._experts_implementation = experts.IMPLEMENTATION
    allow_own_classes(config)
