"""The native sampler against its definition in numpy, one feature at a time and all together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ingot.runtime import _native

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def uniform(seed: int, position: int) -> float:
    start = mix((seed + GOLDEN) & MASK)
    return (mix((start + (position + 1) * GOLDEN) & MASK) >> 11) * 2.0**-53


@dataclass
class Definition:
    """What the parameters mean, on float64; the order of the steps is part of the meaning."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Sequence[tuple[int, float]] = ()
    prompt: Sequence[int] = ()
    output: list[int] = field(default_factory=list)

    def logits(self, row: NDArray[np.float32]) -> NDArray[np.float64]:
        row = row.astype(np.float64)
        for token, bias in self.logit_bias:
            row[token] += bias
        for token in {*self.prompt, *self.output}:
            factor = self.repetition_penalty
            row[token] = row[token] / factor if row[token] > 0 else row[token] * factor
        for token, count in Counter(self.output).items():
            row[token] -= self.frequency_penalty * count + self.presence_penalty
        return row

    def probabilities(self, row: NDArray[np.float32]) -> NDArray[np.float64]:
        row = self.logits(row)
        p = np.exp((row - row.max()) / self.temperature)
        p[p < self.min_p] = 0
        order = np.lexsort((np.arange(len(p)), -row))
        if self.top_k > 0:
            p[order[self.top_k :]] = 0
        p /= p.sum()
        if self.top_p < 1:
            kept = int(np.searchsorted(np.cumsum(p[order]), self.top_p)) + 1
            p[order[kept:]] = 0
        return p / p.sum()

    def state(self, vocab: int, **more: Any) -> _native.SamplerState:
        names = [name for name in vars(self) if name not in ("prompt", "output")]
        params = _native.SamplerParams(**{name: getattr(self, name) for name in names}, **more)
        state = _native.SamplerState(params, vocab, np.array(self.prompt, np.int32))
        for token in self.output:
            state.observe(token)
        return state


def random_row(vocab: int, seed: int, spread: float = 3.0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, spread, vocab).astype(np.float32)


FILTERS = {
    "temperature": Definition(),
    "cold": Definition(temperature=0.3),
    "hot": Definition(temperature=2.5),
    "top-k": Definition(top_k=7),
    "top-k 1": Definition(top_k=1),
    "top-k all": Definition(top_k=5000),
    "top-p": Definition(top_p=0.8),
    "top-p tiny": Definition(top_p=1e-6),
    "top-p near 1": Definition(top_p=0.9999),
    "min-p": Definition(min_p=0.05),
    "min-p 1": Definition(min_p=1.0),
    "all filters": Definition(temperature=1.4, top_k=40, top_p=0.9, min_p=0.01),
    "bias": Definition(logit_bias=[(3, 5.0), (900, -100.0), (3, 1.0)]),
    "repetition": Definition(repetition_penalty=1.7, prompt=[1, 2, 2, 3], output=[4, 4]),
    "repetition below 1": Definition(repetition_penalty=0.5, prompt=[10, 11], output=[12]),
    "presence": Definition(presence_penalty=1.5, prompt=[1, 2], output=[5, 5, 6]),
    "frequency": Definition(frequency_penalty=0.7, prompt=[1, 2], output=[5, 5, 6]),
    "everything": Definition(
        temperature=0.8,
        top_k=60,
        top_p=0.95,
        min_p=0.001,
        repetition_penalty=1.2,
        presence_penalty=-0.5,
        frequency_penalty=0.3,
        logit_bias=[(17, 4.0), (5, -2.0)],
        prompt=list(range(50)),
        output=[5, 17, 17, 200],
    ),
}


@pytest.mark.parametrize("vocab", [5, 1000, 3001, 20_011])
@pytest.mark.parametrize("definition", FILTERS.values(), ids=FILTERS.keys())
def test_draws_follow_the_definition(definition: Definition, vocab: int) -> None:
    inside = [t for t in (*definition.prompt, *definition.output) if t < vocab]
    if len(inside) < len(definition.prompt) + len(definition.output) or any(
        token >= vocab for token, _ in definition.logit_bias
    ):
        vocab = 3001
    row = random_row(vocab, vocab)
    ends = np.cumsum(definition.probabilities(row))
    position = len(definition.output)
    for seed in range(300):
        token = definition.state(vocab, seed=seed).sample(row).token
        drawn = uniform(seed, position)
        begin = ends[token - 1] if token else 0.0
        # Within the token's interval, but for the rounding of float32 weights.
        assert begin - 1e-5 <= drawn <= ends[token] + 1e-5, seed
        assert ends[token] > begin, "a token that a filter drops"


def test_frequencies_match_probabilities() -> None:
    definition = Definition(temperature=1.2, top_p=0.95)
    row, count = random_row(12, 5, spread=1.0), 20_000
    state = definition.state(12, seed=99)
    drawn: Counter[int] = Counter()
    for _ in range(count):
        token = state.sample(row).token
        drawn[token] += 1
        state.observe(token)
    expected = definition.probabilities(row) * count
    kept = expected > 0
    observed = np.array([drawn[token] for token in range(12)])
    assert observed[~kept].sum() == 0
    chi_square = (((observed - expected) ** 2)[kept] / expected[kept]).sum()
    assert chi_square < 30  # 11 degrees of freedom: p = 0.0016, and the seed is fixed


def test_greedy_takes_the_first_maximum() -> None:
    row = random_row(2000, 1)
    row[[700, 1300]] = row.max() + 1
    for changes in ({"temperature": 0.0}, {"temperature": 1e-9}, {"top_k": 1}, {"min_p": 1.0}):
        token = Definition(**changes).state(2000, seed=4).sample(row).token
        assert token == 700 or (changes == {"min_p": 1.0} and token == 1300)
    penalised = Definition(temperature=0.0, presence_penalty=0.5, output=[700])
    assert penalised.state(2000).sample(row).token == 1300


@pytest.mark.parametrize("vocab", [1, 15, 16, 17, 1023, 1024, 1025, 2048])
def test_every_size_of_row(vocab: int) -> None:
    row = random_row(vocab, 2)
    assert Definition(temperature=0).state(vocab).sample(row).token == row.argmax()
    ends = np.cumsum(Definition().probabilities(row))
    for seed in range(50):
        token = Definition().state(vocab, seed=seed).sample(row).token
        assert abs(token - np.searchsorted(ends, uniform(seed, 0))) <= 1


def test_flat_rows_and_extreme_logits() -> None:
    flat = np.zeros(10_000, np.float32)
    assert Definition(top_k=3).state(10_000, seed=1).sample(flat).token < 3
    assert Definition(top_p=0.01).state(10_000, seed=1).sample(flat).token < 100
    peak = np.full(3000, -1e30, np.float32)
    peak[5] = 1e30
    for changes in ({}, {"top_k": 50}, {"top_p": 0.5}, {"min_p": 0.1}, {"temperature": 100.0}):
        assert Definition(**changes).state(3000, seed=3).sample(peak).token == 5
    masked = np.full(3000, -np.inf, np.float32)
    masked[[7, 8]] = 0, np.nan
    for changes in ({}, {"top_k": 50}, {"top_p": 0.9}, {"temperature": 0.0}):
        assert Definition(**changes).state(3000, seed=3).sample(masked).token == 7


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_without_a_finite_maximum_is_refused(value: float, temperature: float) -> None:
    row = np.full(100, value, np.float32)
    with pytest.raises(ValueError, match="no finite maximum"):
        Definition(temperature=temperature).state(100).sample(row)


def test_logprobs_are_those_of_the_row_as_it_came() -> None:
    row = random_row(5000, 8)
    row[[4000, 17]] = row.max() + 1  # equal ones: the lower token first
    definition = Definition(
        temperature=0.5, repetition_penalty=2.0, logit_bias=[(9, 50.0)], output=[17]
    )
    expected = row.astype(np.float64) - row.max()
    expected -= np.log(np.exp(expected).sum())
    sampled = definition.state(5000, logprobs=5, seed=1).sample(row)
    assert sampled.token == 9
    assert sampled.logprob == pytest.approx(expected[9], abs=1e-5)
    best = np.lexsort((np.arange(5000), -row))[:5]
    assert [token for token, _ in sampled.top] == best.tolist()
    assert [value for _, value in sampled.top] == pytest.approx(expected[best], abs=1e-5)
    bare = definition.state(5000, seed=1).sample(row)
    assert (bare.token, bare.logprob, bare.top) == (9, None, [])
    none = definition.state(5000, logprobs=0, seed=1).sample(row)
    assert none.logprob == sampled.logprob and none.top == []
    assert len(Definition().state(3, logprobs=20).sample(row[:3]).top) == 3


def test_a_request_draws_the_same_alone_and_in_company() -> None:
    vocab, count = 4000, 9
    kinds = [list(FILTERS.values())[i] for i in (0, 1, 2, 3, 6, 9, 11, 0, 0)]
    logits = np.stack([random_row(vocab + 16, i) for i in range(count)])[:, :vocab]
    assert not logits.flags.c_contiguous
    for step in range(20):
        alone = []
        definitions = [replace(kind, output=[1] * step) for kind in kinds]
        for seed, (definition, row) in enumerate(zip(definitions, logits, strict=True)):
            state = definition.state(vocab, seed=seed, logprobs=2)
            alone.append(state.sample(np.ascontiguousarray(row)))
        for threads in (1, 2):
            states = [d.state(vocab, seed=i, logprobs=2) for i, d in enumerate(definitions)]
            together = _native.Sampler(threads).sample(states, logits)
            assert [as_tuple(s) for s in together] == [as_tuple(s) for s in alone]
    assert len({sampled.token for sampled in alone}) > 3


def as_tuple(sampled: _native.Sampled) -> tuple[int, float | None, list[tuple[int, float]]]:
    return sampled.token, sampled.logprob, sampled.top


def test_seeds_and_positions_differ() -> None:
    row = np.zeros(100_000, np.float32)
    by_seed = {Definition().state(100_000, seed=seed).sample(row).token for seed in range(100)}
    state = Definition().state(100_000, seed=MASK)
    by_position = set()
    for position in range(100):
        assert state.observed == position
        assert state.sample(row).token == state.sample(row).token
        by_position.add(state.sample(row).token)
        state.observe(0)
    assert len(by_seed) > 97 and len(by_position) > 97 and len(by_seed | by_position) > 190


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"min_p": 1.1},
        {"repetition_penalty": 0.0},
        {"presence_penalty": float("inf")},
        {"frequency_penalty": float("nan")},
        {"logit_bias": [(3, float("inf"))]},
        {"logit_bias": [(100, 1.0)]},
        {"logit_bias": [(-1, 1.0)]},
        {"logprobs": -1},
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    params = _native.SamplerParams(**wrong)
    with pytest.raises(ValueError):
        _native.SamplerState(params, 100, np.array([], np.int32))


def test_rows_and_tokens_out_of_range_are_refused() -> None:
    state = Definition(repetition_penalty=1.1).state(100)
    with pytest.raises(ValueError, match="99 logits: expected 100"):
        state.sample(np.zeros(99, np.float32))
    with pytest.raises(TypeError):
        state.sample(np.zeros(100))
    for token in (-1, 100):
        with pytest.raises(ValueError, match="outside 0"):
            state.observe(token)
        with pytest.raises(ValueError, match="outside 0"):
            Definition(repetition_penalty=1.1, prompt=[token]).state(100)
    sampler = _native.Sampler(2)
    assert sampler.sample([], np.zeros((0, 100), np.float32)) == []
    with pytest.raises(ValueError, match="2 rows of logits for 1 states"):
        sampler.sample([state], np.zeros((2, 100), np.float32))
    with pytest.raises(ValueError, match="expected 100"):
        sampler.sample([state], np.zeros((1, 99), np.float32))
    with pytest.raises(ValueError, match="not contiguous"):
        sampler.sample([state], np.zeros((1, 200), np.float32)[:, ::2])
    broken = np.zeros((3, 100), np.float32)
    broken[1] = np.nan
    with pytest.raises(ValueError, match="row 1: the logits hold no finite maximum"):
        sampler.sample([state, state, state], broken)
