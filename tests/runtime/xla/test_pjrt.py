"""Arrays and programs on several devices that XLA makes of this CPU."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from jaxlib import xla_client

from ingot.errors import ArtifactError, UsageError
from ingot.runtime.xla import pjrt, plugins

REDUCE = """
module @reduce attributes {mhlo.num_replicas = 2 : i32, mhlo.num_partitions = 1 : i32} {
 func.func public @main(%x: tensor<4x8xf32>, %w: tensor<8x8xi4>, %b: tensor<8xbf16>,
     %kv: tensor<16x8xf32> {tf.aliasing_output = 1 : i32}) -> (tensor<4x8xf32>, tensor<16x8xf32>) {
  %wf = stablehlo.convert %w : (tensor<8x8xi4>) -> tensor<8x8xf32>
  %bf = stablehlo.convert %b : (tensor<8xbf16>) -> tensor<8xf32>
  %bb = stablehlo.broadcast_in_dim %bf, dims = [1] : (tensor<8xf32>) -> tensor<4x8xf32>
  %y = stablehlo.dot_general %x, %wf, contracting_dims = [1] x [0]
     : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %s = "stablehlo.all_reduce"(%y) ({
   ^bb0(%p: tensor<f32>, %q: tensor<f32>):
    %r = stablehlo.add %p, %q : tensor<f32>
    stablehlo.return %r : tensor<f32>
  }) {replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %z = stablehlo.add %s, %bb : tensor<4x8xf32>
  %i = stablehlo.constant dense<0> : tensor<i32>
  %new = stablehlo.dynamic_update_slice %kv, %z, %i, %i
     : (tensor<16x8xf32>, tensor<4x8xf32>, tensor<i32>, tensor<i32>) -> tensor<16x8xf32>
  return %z, %new : tensor<4x8xf32>, tensor<16x8xf32>
 }
}
"""


@pytest.fixture(scope="module")
def client() -> pjrt.Client:
    return pjrt.open_client("cpu", 4)


def _arguments(group: pjrt.Group, seed: int) -> tuple[list[pjrt.DeviceArray], np.ndarray]:
    numbers = np.random.default_rng(seed)
    x = [numbers.standard_normal((4, 8)).astype(np.float32) for _ in range(2)]
    w = [numbers.integers(-8, 8, (8, 8)).astype(ml_dtypes.int4) for _ in range(2)]
    b = numbers.standard_normal(8).astype(ml_dtypes.bfloat16)
    kv = [np.zeros((16, 8), np.float32) for _ in range(2)]
    expected = sum(a @ c.astype(np.float32) for a, c in zip(x, w, strict=True))
    arrays = [group.put(x), group.put(w), group.put([b, b]), group.put(kv)]
    return arrays, expected + b.astype(np.float32)


def test_a_program_runs_on_a_group_and_writes_into_what_is_donated(client: pjrt.Client) -> None:
    group = client.group([2, 3])
    arguments, expected = _arguments(group, 0)
    [result], [cache] = group.compile(REDUCE.encode()).run(arguments, arguments[3:])
    for index in range(2):
        np.testing.assert_allclose(result.read(index), expected, rtol=1e-5, atol=1e-5)
    assert arguments[3].deleted and not cache.deleted
    arguments[3] = cache
    [again], _ = group.compile(REDUCE.encode()).run(arguments, [cache])
    np.testing.assert_array_equal(again.read(1), result.read(0))


def test_a_saved_program_runs_on_other_devices(client: pjrt.Client) -> None:
    saved = client.group([0, 1]).compile(REDUCE.encode()).serialize()
    group = client.group([3, 2])
    arguments, expected = _arguments(group, 1)
    [result], _ = group.load(saved).run(arguments, arguments[3:])
    np.testing.assert_allclose(result.read(1), expected, rtol=1e-5, atol=1e-5)


def test_results_move_from_group_to_group(client: pjrt.Client) -> None:
    here, there = client.group([0, 1]), client.group([2, 3])
    arguments, expected = _arguments(here, 2)
    [result], _ = here.compile(REDUCE.encode()).run(arguments, arguments[3:])
    moved = there.move(result)
    identity = REDUCE.replace("return %z, %new", "return %x, %new").encode()
    onward, _ = there.compile(identity).run(
        [moved, *(others := _arguments(there, 3)[0])[1:]], others[3:]
    )
    np.testing.assert_allclose(onward[0].read(0), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(onward[0].read(1), result.read(1))


def test_what_is_no_executable_is_refused(client: pjrt.Client) -> None:
    group = client.group([0, 1])
    saved = group.compile(REDUCE.encode()).serialize()
    for damaged in (b"", b"executable", saved[: len(saved) // 2]):
        with pytest.raises(ArtifactError, match="not an executable of this build"):
            group.load(damaged)
    with pytest.raises(ArtifactError, match="XLA does not compile it"):
        group.compile(REDUCE.replace("stablehlo.add", "stablehlo.plus").encode())
    with pytest.raises(ArtifactError, match="XLA does not compile it"):
        group.compile(b"ML\xefR cut off")


def test_a_device_without_room_is_said(
    client: pjrt.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise xla_client.XlaRuntimeError("RESOURCE_EXHAUSTED: 26.44G exceeds 15.75G\nmore")

    monkeypatch.setattr(xla_client, "batched_device_put", full)
    with pytest.raises(UsageError, match=r"memory of a device is full: .* 26\.44G exceeds 15\.75G"):
        client.group([0]).put([np.zeros(1, np.int32)])


def test_a_host_without_a_tpu_is_told_so() -> None:
    with pytest.raises(UsageError, match="this host has no tpu device"):
        pjrt.open_client("tpu", 4)


@pytest.mark.parametrize(
    ("installed", "message"),
    [({}, "needs jaxlib"), ({"jaxlib": "0.9"}, "jaxlib 0.9 is installed, .* runs on 0.10.2")],
)
def test_another_jaxlib_is_refused(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], message: str
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise plugins.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(plugins, "version", version)
    with pytest.raises(UsageError, match=message) as caught:
        pjrt.open_client("cpu", 1)
    assert 'pip install "ingot[xla]"' in str(caught.value)


def test_a_libtpu_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        plugins, "version", {"jaxlib": plugins.JAXLIB, "libtpu": "0.0.52"}.__getitem__
    )
    with pytest.raises(UsageError, match=r"libtpu 0.0.52 is installed, .* runs on 0.0.42.1"):
        pjrt.open_client("tpu", 1)


def test_the_versions_are_those_of_the_extras() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert f"jaxlib=={plugins.JAXLIB}" in extras["xla"]
    for plugin in plugins.PLUGINS.values():
        assert f"{plugin.package}=={plugin.version}" in extras[plugin.extra]


_ALONE = """
import sys
import numpy as np
from ingot.runtime.xla import pjrt
group = pjrt.open_client("cpu", 2).group([0, 1])
text = b'''module attributes {mhlo.num_replicas = 2 : i32} {
 func.func public @main(%x: tensor<4xf32>) -> tensor<4xf32> { return %x : tensor<4xf32> } }'''
[result], _ = group.compile(text).run([group.put([np.ones(4, np.float32)] * 2)], [])
assert result.read(1).sum() == 4
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"jax", "torch", "torch_mlir"}, loaded
assert "jaxlib.mlir" not in sys.modules
import jax.numpy as jnp
assert (jnp.ones((2, 3)) @ jnp.ones((3, 2))).sum() == 12
assert jnp.arange(4.0).addressable_data(0).shape == (4,)
"""


def test_one_file_imports_jaxlib_and_none_jax() -> None:
    root = Path(__file__).parents[3] / "runtime"
    imports = re.compile(r"^\s*(?:from|import) (jaxlib|jax|libtpu)\b", re.MULTILINE)
    found = {
        path.relative_to(root).as_posix(): set(imports.findall(path.read_text(encoding="utf-8")))
        for path in root.rglob("*.py")
    }
    assert {name: packages for name, packages in found.items() if packages} == {
        "xla/pjrt.py": {"jaxlib"}
    }


def test_the_serving_part_loads_jaxlib_only_where_it_is_used() -> None:
    code = "import ingot.runtime, sys; print({'jaxlib', 'jax', 'ml_dtypes'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_it_is_quiet_imports_no_jax_and_leaves_jax_usable() -> None:
    code, check = _ALONE.split("import jax.numpy", 1)
    run = [sys.executable, "-c"]
    alone = subprocess.run([*run, code], capture_output=True, text=True, timeout=60)
    assert (alone.returncode, alone.stdout, alone.stderr) == (0, "", "")
    environment = {"JAX_PLATFORMS": "cpu"}
    both = subprocess.run(
        [*run, f"{code}import jax.numpy{check}"], text=True, timeout=120, env=environment
    )
    assert both.returncode == 0
