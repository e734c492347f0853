"""Plans for XLA as documents, and meshes: what is sound is read, the rest refused with a reason."""

import json
from typing import Any

import pytest

from ingot.errors import ArtifactError
from ingot.ir import Mesh
from ingot.runtime.xla.mesh import DeviceMesh
from ingot.runtime.xla.plan import Parameter, Pool, Step, parse_plan

DOCUMENT: Any = {
    "version": 1,
    "platform": "cpu",
    "topology": "",
    "mesh": "dp2xtp2",
    "compiler": {"build": "jaxlib 1"},
    "limits": {
        "vocab_size": 97,
        "max_positions": 512,
        "page_tokens": 16,
        "num_pages": 8,
        "context": 100,
    },
    "kv_cache": {"dtype": "bfloat16", "layers": [{"stage": 0, "shape": [4, 16, 2, 8]}]},
    "parameters": [
        {
            "name": "table",
            "dtype": "int4",
            "shape": [6, 8],
            "stage": 0,
            "parts": {"axes": ["tp"], "weights": ["t@tp0", "t@tp1"]},
            "offset": 64,
        }
    ],
    "steps": [
        {
            "tokens": 4,
            "sequences": 4,
            "rows": 4,
            "blocks": 7,
            "decode": True,
            "stages": [{"program": "p.bc", "executable": None}],
        }
    ],
}


def changed(**changes: Any) -> Any:
    """The document with other values at places such as `limits__num_pages`."""
    document = json.loads(json.dumps(DOCUMENT))
    for path, value in changes.items():
        *parents, last = (int(key) if key.isdigit() else key for key in path.split("__"))
        place = document
        for key in parents:
            place = place[key]
        place[last] = value
    return document


def test_a_plan_is_read() -> None:
    plan = parse_plan(DOCUMENT, "plan.json")
    assert plan.mesh == DeviceMesh((("dp", 2), ("tp", 2))) and plan.places == (0, 1, 2, 3)
    assert (plan.max_positions, plan.num_pages, plan.pages_per_group) == (100, 8, 4)
    assert plan.pools == (Pool(0, (4, 16, 2, 8)),)
    assert plan.parameters == (
        Parameter("table", "int4", (6, 8), 0, ("tp",), (("t@tp0", "t@tp1"),), False, 64),
    )
    [step] = plan.steps
    assert isinstance(step, Step) and step.decode and step.stages[0].executable is None
    stacked = changed(parameters__0__parts__weights=[["a", "b"], ["c", "d"]])
    [parameter] = parse_plan(stacked, "plan.json").parameters
    assert parameter.stacked and parameter.weights == (("a", "b"), ("c", "d"))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (changed(version=2), "plan version 2, this Ingot runs 1"),
        ([], "malformed plan"),
        (changed(platform="abacus"), "no platform 'abacus'"),
        (changed(mesh="dp2xup2"), "'dp2xup2' is no mesh"),
        (changed(mesh="dp2xdp2"), "'dp2xdp2' is no mesh"),
        (changed(mesh="dp2xpp2"), "1 stages of 2"),
        (changed(places=[0]), "1 places for 4 devices"),
        (changed(limits__num_pages=7), "pages that do not divide"),
        (changed(mesh="dp2xcp3"), "divided by tokens"),
        (changed(steps=[]), "no steps"),
        (changed(steps__0__rows=0), "an empty step"),
        (changed(kv_cache__dtype="float8"), "no type 'float8'"),
        (changed(parameters__0__stage=1), "on stage 1"),
        (changed(limits={}), "it lacks 'max_positions'"),
    ],
)
def test_what_makes_no_sense_is_refused(document: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        parse_plan(document, "plan.json")
    assert caught.value.where == "plan.json" and "Compile the model again" in str(caught.value)


@pytest.mark.parametrize("text", ["", "tp4", "dp2xtp4", "tp2xdp3", "pp2xdp2xtp2", "ep2xcp2xpp2"])
def test_devices_stand_where_the_compiler_puts_them(text: str) -> None:
    mine = DeviceMesh.parse(text)
    if not text:
        assert (mine.devices, mine.stages, mine.data_groups) == (1, 1, 1)
        assert mine.stage_devices(0) == [0] and mine.data_group(0) == 0
        return
    other = Mesh.parse(text)
    assert (mine.devices, mine.data_groups) == (other.devices, other.data_groups)
    for device in range(mine.devices):
        assert mine.coordinates(device) == dict(other.coordinates(device))
        assert mine.data_group(device) == other.data_group(device)
        stage = other.coordinates(device).get("pp", 0)
        assert device in mine.stage_devices(stage)
