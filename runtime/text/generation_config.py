"""What a model's generation_config.json says about sampling, and which tokens end its output."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingot.errors import ArtifactError, RequestError
from ingot.runtime.sampling import SamplingParams

FILE = "generation_config.json"
_SAMPLING_FIELDS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


@dataclass(frozen=True)
class GenerationDefaults:
    """End tokens and default parameters of a model.

    `params` follows transformers: a model samples only if its configuration says `do_sample`, or
    says nothing of it but gives a temperature; else it is greedy.
    """

    end_ids: frozenset[int]
    params: SamplingParams


def read_generation_config(
    config: Mapping[str, Any], *, eos_id: int | None = None, where: str = FILE
) -> GenerationDefaults:
    """Read a generation_config.json; `eos_id`, the tokenizer's, joins the end tokens.

    `eos_token_id` may be one id or a list.  Values out of range are an `ArtifactError`.
    """
    fields = {name: config[name] for name in _SAMPLING_FIELDS if config.get(name) is not None}
    samples = config.get("do_sample", "temperature" in fields)
    if not samples:
        penalty = fields.get("repetition_penalty", 1.0)
        fields = {"temperature": 0.0, "repetition_penalty": penalty}
    hint = "Correct the file in the checkpoint and compile the model again."
    try:
        params = SamplingParams(max_tokens=config.get("max_new_tokens"), **fields)
    except RequestError as error:
        raise ArtifactError(str(error), where=where, hint=hint) from error
    listed = config.get("eos_token_id")
    ids = listed if isinstance(listed, list) else [] if listed is None else [listed]
    if not all(isinstance(token, int) and token >= 0 for token in ids):
        raise ArtifactError(f"{listed!r} is no token id", where=f"{where}: eos_token_id", hint=hint)
    if eos_id is not None:
        ids = [*ids, eos_id]
    return GenerationDefaults(frozenset(ids), params)
