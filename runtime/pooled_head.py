"""What an artifact's manifest says of a model that gives one row a text, instead of tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ingot.errors import ArtifactError

Task = Literal["generate", "embed", "classify"]


@dataclass(frozen=True)
class PooledHead:
    """How texts are prepared, and what comes of them."""

    task: Task
    max_tokens: int
    """Longer texts are cut to so many tokens, special tokens included."""
    normalized: bool = False
    """Whether embeddings have the length 1."""
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    include_prompt: bool = True
    """Whether the model pools the tokens of a prompt too."""
    similarity: str = "cosine"
    labels: tuple[str, ...] = ()
    """What each number of a classification stands for."""

    @staticmethod
    def from_manifest(manifest: Mapping[str, Any], where: str) -> "PooledHead | None":
        """Return what the manifest says, None for a model that generates; raises ArtifactError."""
        task = manifest.get("task", "generate")
        if task == "generate":
            return None
        facts = manifest.get("head")
        if task not in ("embed", "classify") or not isinstance(facts, dict):
            raise ArtifactError(
                f"the task {task!r} is not known", where=where, hint="Compile the model again."
            )
        names = {one.name for one in fields(PooledHead)} - {"task", "labels"}
        given = {name: value for name, value in facts.items() if name in names}
        return PooledHead(task=task, labels=tuple(facts.get("labels", ())), **given)
