"""Which meshes are considered, and why others are not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.compiler.planning.meshes import ORDER, factorizations, meshes_of, obstacle
from ingot.compiler.planning.sizes import Sizes
from ingot.ir import Mesh

DENSE = Sizes(64, 4, frozenset({8}), frozenset({2}), frozenset(), 100)
SPARSE = replace(DENSE, experts=frozenset({4}))


@given(st.integers(1, 64))
def test_every_factorization_comes_once_and_multiplies_to_the_number(devices: int) -> None:
    meshes = list(meshes_of(devices))
    assert all(mesh.devices == devices for mesh in meshes)
    assert len(set(meshes)) == len(meshes) == len(list(factorizations(devices, len(ORDER))))


def test_two_devices_divide_the_model_along_any_one_axis() -> None:
    assert {str(mesh) for mesh in meshes_of(2)} == {"tp2", "cp2", "ep2", "dp2", "pp2"}


def test_axes_that_send_most_lie_between_neighbours() -> None:
    assert "pp2xdp2xtp2" in {str(mesh) for mesh in meshes_of(8)}


@pytest.mark.parametrize(
    ("mesh", "why"),
    [
        ("tp8", ""),  # the 2 KV heads lie on four devices each
        ("tp16", "8 heads in 16"),
        ("ep2", "no experts"),
        ("pp8", "4 layers in 8"),
        ("dp16", "8 sequences in 16 groups"),
        ("dp8", ""),
        ("cp32", ""),
    ],
)
def test_what_stands_against_a_mesh(mesh: str, why: str) -> None:
    assert obstacle(Mesh.parse(mesh), DENSE, batch=8) == why


def test_kv_heads_that_neither_divide_nor_are_divided() -> None:
    sizes = replace(DENSE, heads=frozenset({12}), kv_heads=frozenset({3}))
    assert obstacle(Mesh.parse("tp2"), sizes, 8) == "3 KV heads in 2"
    assert obstacle(Mesh.parse("tp6"), sizes, 8) == ""


def test_experts_divide_along_their_axis() -> None:
    assert obstacle(Mesh.parse("ep4"), SPARSE, 8) == ""
    assert obstacle(Mesh.parse("ep8"), SPARSE, 8) == "4 experts in 8"
