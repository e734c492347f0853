"""A pass: the rows of some tokens of a task and one KV head, which see the cache together."""

from dataclasses import dataclass

from ingot.targets.cpu.build import I32, I64, Pointer, Value
from ingot.targets.cpu.kernel import Arguments
from ingot.targets.cpu.levels import Level

from .attention_shape import AttentionShape, ScratchLayout


@dataclass(frozen=True, eq=False)
class Pass:
    """Tokens of one task whose rows are in scratch together, and one KV head."""

    shape: AttentionShape
    level: Level
    arguments: Arguments
    head: Value
    token: Value
    tokens: Value
    position: Value
    table: Pointer
    task: Pointer

    @property
    def layout(self) -> ScratchLayout:
        """Where scratch holds what."""
        return ScratchLayout(self.shape)

    @property
    def scratch(self) -> Pointer:
        """The memory of this thread."""
        return self.arguments.scratch

    def end(self) -> Value:
        """Return the number of tokens of the sequence, i64."""
        return self.task.load(I32, 16).to(I64)

    def entry(self, page: Value, head: Value | None = None) -> Pointer:
        """Return where the keys and values of the sequence's page number `page` are, of the pass's
        KV head or another.
        """
        number = self.table.load(I32, page * 4).to(I64)
        place = number * self.shape.kv_heads + (self.head if head is None else head)
        offset = place * self.shape.layout.entry_bytes
        return self.arguments.pointer("pages").at(offset)
