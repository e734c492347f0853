"""How a page of KV cache of one KV head lies in memory.

Keys have the page's 16 tokens as lanes: a 32-bit word of lane t holds 1, 2 or 4 neighbouring
features (float32, bfloat16, int8 as k + 128) of token t.  Values follow token by token, bfloat16
pair by pair of tokens (a feature of both side by side), and for int8 the float32 scales of the 16
keys and of the 16 values.
"""

from dataclasses import dataclass

from ingot.targets.cpu.plan import PAGE_TOKENS, KvDtype

_ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True)
class KvLayout:
    """Offsets within a page and head; all in bytes."""

    dtype: KvDtype
    head_dim: int
    value_dim: int = 0
    """Features of a value; 0: those of a key."""

    @property
    def value_features(self) -> int:
        """Features of a value."""
        return self.value_dim or self.head_dim

    @property
    def element_bytes(self) -> int:
        """Size of a stored feature."""
        return _ELEMENT_BYTES[self.dtype]

    @property
    def features_per_word(self) -> int:
        """Neighbouring features of a key in a 32-bit word."""
        return 4 // self.element_bytes

    @property
    def key_words(self) -> int:
        """32-bit words of a key; the last may be padded with zeros."""
        return -(-self.head_dim // self.features_per_word)

    @property
    def value_bytes(self) -> int:
        """Bytes of one token's value."""
        return self.value_features * self.element_bytes

    @property
    def step_tokens(self) -> int:
        """Tokens whose values lie feature by feature side by side."""
        return 2 if self.dtype == "bfloat16" else 1

    @property
    def step_bytes(self) -> int:
        """Bytes of the values of `step_tokens` tokens."""
        return self.step_tokens * self.value_bytes

    @property
    def values_offset(self) -> int:
        """Where the values begin."""
        return self.key_words * 4 * PAGE_TOKENS

    @property
    def scales_offset(self) -> int:
        """Where the scales of the keys begin (int8); those of the values follow them."""
        return self.values_offset + PAGE_TOKENS * self.value_bytes

    @property
    def value_scales_offset(self) -> int:
        """Where the scales of the values begin (int8)."""
        return self.scales_offset + 4 * PAGE_TOKENS

    @property
    def tail_bytes(self) -> int:
        """Bytes from the first value to the end of the last scale."""
        scales = 2 * 4 * PAGE_TOKENS if self.dtype == "int8" else 0
        return PAGE_TOKENS * self.value_bytes + scales

    @property
    def entry_bytes(self) -> int:
        """Size of one page of one head, padded to 64 bytes."""
        return -(-(self.values_offset + self.tail_bytes) // 64) * 64

    def page_bytes(self, kv_heads: int) -> int:
        """Size of a page of one layer, all heads."""
        return kv_heads * self.entry_bytes
