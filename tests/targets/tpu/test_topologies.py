"""Names of TPU topologies, held to what libtpu itself knows of them."""

from collections.abc import Iterator

import pytest

from ingot.errors import UsageError
from ingot.targets.tpu.topologies import find_topology, known_topologies
from ingot.targets.xla.compiling import ProgramCompiler


@pytest.fixture(scope="module")
def compiler() -> Iterator[ProgramCompiler]:
    with ProgramCompiler() as compiler:
        yield compiler


@pytest.mark.parametrize(
    ("name", "text", "devices"),
    [
        ("v4-8", "v4:2x2x1", 4),
        ("v5e-8", "v5e:2x4", 8),
        ("v5litepod-8", "v5e:2x4", 8),
        ("v5p-8", "v5p:2x2x1", 4),
        ("v5p:2x2x2", "v5p:2x2x2", 8),
        ("v6e-8", "v6e:2x4", 8),
        ("tpu7x-8", "tpu7x:2x2x1", 8),
        ("v5e:1x1", "v5e:1x1", 1),
    ],
)
def test_names_stand_for_shapes(name: str, text: str, devices: int) -> None:
    topology = find_topology(name)
    assert (topology.text, topology.devices) == (text, devices)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("v4-8", "TPU v4"),
        ("v5e-1", "TPU v5 lite"),
        ("v5e-8", "TPU v5 lite"),
        ("v5p-8", "TPU v5"),
        ("v5p:1x1x1", "TPU v5"),
        ("v6e-8", "TPU v6 lite"),
        ("tpu7x-8", "TPU7x"),
    ],
)
def test_libtpu_knows_the_same_chips(compiler: ProgramCompiler, name: str, kind: str) -> None:
    topology = find_topology(name)
    facts = compiler.describe(topology.platform)
    assert facts.kind == kind
    assert len(facts.coordinates) == topology.devices
    shape = (*topology.shape, 1)[:3]
    assert [1 + max(one[axis] for one in facts.coordinates) for axis in range(3)] == list(shape)


def test_libtpu_has_as_many_devices_in_every_named_topology(compiler: ProgramCompiler) -> None:
    for name in known_topologies():
        topology = find_topology(name)
        assert len(compiler.describe(topology.platform).coordinates) == topology.devices, name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("v9-8", "v9 is no generation"),
        ("v5e-7", "v5e has no topology of 7"),
        ("v5p:2x2", "stand in 3 dimensions"),
        ("v5e:0x2", "1 to 8960 chips"),
        ("v5p:64x64x64", "1 to 8960 chips"),
        ("v5e:3x3", "not made of whole hosts"),
        ("v5p:1x2x2", "not made of whole hosts"),
        ("big", "neither a name nor a shape"),
    ],
)
def test_unknown_topologies_are_refused_with_those_known(name: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        find_topology(name)
    assert "v5e-{1,4,8," in str(caught.value)
