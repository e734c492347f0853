"""Meshes that do not fit a model: which number does not divide, where, and what would."""

from dataclasses import replace

import pytest

from ingot.errors import UsageError

from .conftest import Sharded
from .models import FORMS, LLAMA, Form, decoder

REFUSED = [
    (LLAMA, "tp3", "8 attention heads among 3 devices along tp", "divide this model: 2, 4, 8."),
    (LLAMA, "tp16", "8 attention heads among 16", "divide this model: 2, 4, 8."),
    (
        replace(LLAMA, heads=12, kv_heads=4, vocabulary=48, inner=48),
        "tp6",
        "4 key-value heads among 6",
        "divide this model: 2, 4, 12.",
    ),
    (replace(LLAMA, inner=60), "tp8", "60 input features", "divide this model: 2, 4."),
    (FORMS["mixtral"], "ep3", "8 experts among 3 devices along ep", "this model: 2, 4, 8."),
    (replace(FORMS["mixtral"], inner=24), "tp8", "12 features inside experts", "model: 2, 4."),
    (LLAMA, "ep2", "no experts to divide along ep", "Leave ep out of the mesh."),
    (LLAMA, "pp3", "2 layers among 3 stages", "Take pp of 2 at most."),
    (LLAMA, "mesh=dp2,sequence=true", "has no axis tp", "Add tp to the mesh"),
    (LLAMA, "zp2", "'zp' is no axis of a mesh", "Write axes and their sizes"),
]


@pytest.mark.parametrize(("form", "mesh", "message", "hint"), REFUSED)
def test_a_mesh_that_does_not_divide_is_refused(
    form: Form, mesh: str, message: str, hint: str, sharded: Sharded
) -> None:
    with pytest.raises(UsageError) as error:
        sharded(decoder(form), mesh)
    assert message in error.value.message
    assert hint in error.value.hint
    assert error.value.where


def test_an_error_names_the_place_in_the_model(sharded: Sharded) -> None:
    with pytest.raises(UsageError) as error:
        sharded("llama", "tp3")
    assert error.value.where == "mesh tp3, lm.attention"


def test_a_module_is_divided_once(sharded: Sharded) -> None:
    with pytest.raises(UsageError, match="divided already, over the mesh tp2"):
        sharded(sharded("llama", "tp2"), "tp2")
