"""What is measured, and what follows from the figures."""

import numpy as np

from ingot.runtime.tuning.choice import Family
from ingot.runtime.tuning.measure import choice_of, fastest
from ingot.runtime.tuning.trials import pieces_of, trials_of

FAMILY = Family(((1, ("one", "oneb")), (8, ("eight",)), (None, ("any", "anyb"))))
SLOTS = [["buffer", 0, 0], ["weight", "w", 64], ["weight", "bias", 0], ["field", "tokens"]]


def launch(units: int, weight: str = "w") -> dict[str, object]:
    slots = [[slot[0], weight, slot[2]] if slot[1] == "w" else slot for slot in SLOTS]
    kernels = [[1, ["one", "oneb"]], [8, "eight"], [None, ["any", "anyb"]]]
    return {"name": "x", "kernels": kernels, "units": {"count": units}, "slots": slots, "grain": 1}


def test_pieces_are_parts_of_the_weights_and_every_candidate_runs_on_each() -> None:
    weights = {
        "w": np.zeros(64 + 1000 * 4096, np.uint8),
        "v": np.zeros(64 + 10 * 4096, np.uint8),
        "bias": np.zeros(64, np.uint8),
    }
    document = {"launches": [launch(1000), launch(10, "v"), {**launch(5), "slots": [["kv", 0]]}]}
    families = {"one": FAMILY}
    pieces = pieces_of(document, families, weights, rows=8, threads=2)
    places = [(piece.units, piece.offset // 4096) for piece in pieces["one"]]
    assert places == [(264, 0), (10, 0), (264, 264), (264, 528)]
    trials = trials_of(families, pieces, 8)
    assert len(trials) == 4 * 3
    assert {(trial.symbol, trial.piece) for trial in trials} == {
        (symbol, piece) for symbol in ("eight", "any", "anyb") for piece in range(4)
    }
    assert [trial.piece for trial in trials] == [0, 1, 2, 3] * 3
    [third] = [t.launch for t in trials if t.piece == 2 and t.symbol == "any"]
    assert third["kernels"] == [[None, "any"]] and third["units"] == {"count": 264}
    assert third["slots"][1] == ["weight", "w", 64 + 264 * 4096]
    assert third["slots"][2] == ["weight", "bias", 0]


def test_one_candidate_is_not_measured() -> None:
    family = Family(((1, ("one",)), (None, ("any",))))
    assert trials_of({"one": family}, {"one": []}, 1) == []


def test_the_fastest_is_that_of_most_pieces_and_by_more_than_noise() -> None:
    default = {0: 1.0, 1: 2.0, 2: 3.0}
    assert fastest(("a", "b"), {"a": default, "b": {0: 0.9, 1: 1.8, 2: 99.0}}) == "b"
    assert fastest(("a", "b"), {"a": default, "b": {0: 0.99, 1: 1.98, 2: 2.97}}) == "a"
    assert fastest(("a", "b"), {}) == "a"


def test_a_number_of_rows_stands_for_those_below_it() -> None:
    best = {1: "oneb", 4: "eight", 8: "any", 12: "any", 128: "anyb"}
    assert choice_of(FAMILY, best) == ((1, "oneb"), (4, "eight"), (12, "any"), (None, "anyb"))


def test_what_was_not_measured_keeps_its_default() -> None:
    assert choice_of(FAMILY, {}) == FAMILY.default
    assert choice_of(FAMILY, {4: "anyb"}) == (
        (1, "one"),
        (4, "anyb"),
        (8, "eight"),
        (None, "any"),
    )
