"""Devices through PJRT: arrays on them, and programs that all of a group run together.

The only importer of jaxlib in the runtime.  Its Python interface is private and changes from
release to release, so one release is asked for, and what is used of it stands here.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ArtifactError, UsageError
from ingot.executables import COMPILER_OPTIONS

from .plugins import PLUGINS, check_installed, no_device
from .without_jax import ArrayType, settle, without_jax

HostArray = NDArray[Any]

_IDENTITY = b"""module {
  func.func public @main(%x: tensor<1xi32>) -> tensor<1xi32> { return %x : tensor<1xi32> }
}"""


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """One array of `shape` on every device of a group, each with values of its own."""

    handle: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def deleted(self) -> bool:
        """Whether its memory has been given to a result."""
        return bool(self.handle.is_deleted())

    def wait(self) -> None:
        """Wait until its values are on the devices; raises UsageError where they do not fit."""
        with _memory_errors():
            self.handle.block_until_ready()

    def delete(self) -> None:
        """Free its memory now."""
        self.handle.delete()


@dataclass(frozen=True, eq=False)
class Program:
    """An executable on the devices of a group."""

    handle: Any
    group: "Group"

    def run(
        self, arguments: Sequence[DeviceArray], donated: Sequence[DeviceArray]
    ) -> tuple[list["Parts"], list[DeviceArray]]:
        """Run it once; returns its first results, and the last ones, which took `donated`'s place.

        `donated` are among `arguments`; the program says by `tf.aliasing_output` that it writes its
        last results there.  Returns before the devices are done; errors come when a part is read.
        """
        xla = _xla()
        results = self.handle.execute_sharded([array.handle for array in arguments])
        first = self._num_results - len(donated)
        with without_jax():
            parts = results.disassemble_prefix_into_single_device_arrays(first)
        kept = results.consume_with_handlers(
            [
                xla.array_result_handler(
                    self.group.describe(array.shape, array.dtype),
                    self.group.sharding(len(array.shape)),
                    True,
                    True,
                )
                for array in donated
            ]
        )
        arrays = [
            DeviceArray(handle, array.shape, array.dtype)
            for handle, array in zip(kept, donated, strict=True)
        ]
        return [Parts(tuple(part)) for part in parts], arrays

    def serialize(self) -> bytes:
        """Return it as bytes for `Group.load` with the same jaxlib, plugin and kind of device."""
        return bytes(self.handle.client.serialize_executable(self.handle))

    @cached_property
    def _num_results(self) -> int:
        return len(self.handle.get_output_layouts())


@dataclass(frozen=True)
class Parts:
    """A result of a program: an array for each device of the group."""

    handles: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each of the arrays."""
        return tuple(self.handles[0].aval.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of their elements."""
        dtype: np.dtype[Any] = np.dtype(self.handles[0].aval.dtype)
        return dtype

    def read(self, index: int) -> HostArray:
        """Wait for the array of the group's device number `index` and return it, read-only."""
        with without_jax():
            array: HostArray = self.handles[index]._single_device_array_to_np_array_did_copy()[0]
        return array


@dataclass(frozen=True, eq=False)
class Group:
    """Devices that run a program together, in the order of its replicas."""

    client: "Client"
    devices: tuple[Any, ...]
    numbers: tuple[int, ...]

    def put(self, parts: Sequence[HostArray]) -> DeviceArray:
        """Place one host array a device, all of one shape and type, on the devices.

        On the CPU an array at an address of 64 bytes is not copied: nobody may write it afterwards.
        """
        assert len(parts) == len(self.devices)
        return self._place(parts, parts[0].shape, parts[0].dtype)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """Place an array of zeros on every device."""
        if self.client.platform == "cpu":  # each device keeps its host array
            return self.put([np.zeros(shape, dtype) for _ in self.devices])
        return self.put([np.zeros(shape, dtype)] * len(self.devices))

    def move(self, parts: Parts) -> DeviceArray:
        """Copy a result of another group of as many devices here, first to first and so on."""
        return self._place(parts.handles, parts.shape, parts.dtype)

    def compile(self, program: bytes) -> Program:
        """Compile StableHLO, text or portable bytecode; raises ArtifactError where XLA refuses."""
        try:
            with _memory_errors():
                handle = self.client.handle.compile_and_load(
                    program, list(self.devices), self.options
                )
        except _xla().XlaRuntimeError as error:
            raise ArtifactError(
                f"XLA does not compile it: {_first_line(error)}", hint="Compile the model again."
            ) from error
        return Program(handle, self)

    def load(self, executable: bytes) -> Program:
        """Load what `serialize` returned; raises ArtifactError where this build does not read it.

        It is machine code: load only what has been checked.
        """
        try:
            handle = self.client.handle.deserialize_executable(
                executable, self._device_list, self.options
            )
        except (_xla().XlaRuntimeError, ValueError, RuntimeError) as error:
            raise ArtifactError(
                f"not an executable of this build: {_first_line(error)}",
                hint="Compile the model again.",
            ) from error
        return Program(handle, self)

    @cached_property
    def options(self) -> Any:
        """The devices are replicas: no partitioner takes part."""
        xla = _xla()
        options = xla.CompileOptions()
        build = options.executable_build_options
        options.num_replicas = build.num_replicas = len(self.devices)
        options.num_partitions = build.num_partitions = 1
        assignment = xla.DeviceAssignment.create(np.array([[device.id] for device in self.devices]))
        options.device_assignment = build.device_assignment = assignment
        told = COMPILER_OPTIONS.get(self.client.handle.platform, {})
        options.env_option_overrides = list(told.items())
        return options

    def describe(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ArrayType:
        """Return the array of all devices, whose first dimension is divided among them."""
        assert shape, "an array has at least one dimension"
        return ArrayType((len(self.devices) * shape[0], *shape[1:]), dtype)

    def sharding(self, rank: int) -> Any:
        """Return how an array of `rank` dimensions is divided: by its first dimension alone."""
        xla = _xla()
        tiles = xla.HloSharding.iota_tile((len(self.devices),) + (1,) * (rank - 1))
        return xla.GSPMDSharding(self._device_list, tiles)

    @cached_property
    def _device_list(self) -> Any:
        return _xla().DeviceList(self.devices)

    def _place(
        self, parts: Sequence[Any], shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> DeviceArray:
        with _memory_errors():
            handle = _xla().batched_device_put(
                self.describe(shape, dtype),
                self.sharding(len(shape)),
                list(parts),
                list(self.devices),
                enable_x64=True,
            )
        return DeviceArray(handle, shape, dtype)


@dataclass(frozen=True, eq=False)
class Client:
    """The devices of a platform in this process."""

    platform: str
    handle: Any

    @property
    def num_devices(self) -> int:
        """How many devices there are."""
        return len(self.handle.local_devices())

    def group(self, numbers: Sequence[int]) -> Group:
        """Return the devices of these numbers, in this order."""
        devices = self.handle.local_devices()
        return Group(self, tuple(devices[number] for number in numbers), tuple(numbers))

    def free_memory(self) -> int | None:
        """Return the bytes that the first device has left, None where it does not tell."""
        statistics = self.handle.local_devices()[0].memory_stats()
        if not statistics or "bytes_limit" not in statistics:
            return None
        return int(statistics["bytes_limit"]) - int(statistics.get("bytes_in_use", 0))


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the type of this name, bfloat16 and int4 among them."""
    import ml_dtypes  # comes with jaxlib, whose absence has an error of its own

    return np.dtype(getattr(ml_dtypes, name, name))


def open_client(platform: str, devices: int) -> Client:
    """Open `devices` devices of "cpu", "tpu" or "cuda"; on the CPU they are made, else found.

    Raises UsageError where a package is missing or of another version than Ingot was made with, or
    where this host has no such device, or too few of them.
    """
    assert platform == "cpu" or platform in PLUGINS
    check_installed(platform)
    xla = _xla()
    if platform == "cpu":
        handle = xla.make_cpu_client(num_devices=devices)
    else:
        handle = _open_plugin(xla, platform)
    client = Client(platform, handle)
    if client.num_devices < devices:
        raise UsageError(
            f"this host has {client.num_devices} {platform} devices, and the artifact runs on "
            f"{devices}",
            hint="Run it on a host with as many, or compile it with a smaller --mesh.",
        )
    settle(lambda: _run_something(client))
    return client


def _run_something(client: Client) -> object:
    group = client.group([0])
    return group.compile(_IDENTITY).run([group.put([np.zeros(1, np.int32)])], [])


def _xla() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # else it counts its devices on stderr
    from jaxlib import xla_client

    return xla_client


def _open_plugin(xla: Any, platform: str) -> Any:
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # else it asks the network who this host is
    with _no_device_errors(xla, platform):
        if not xla.pjrt_plugin_loaded(platform):
            xla.load_pjrt_plugin_dynamically(platform, str(PLUGINS[platform].path))
        if not xla.pjrt_plugin_initialized(platform):
            xla.initialize_pjrt_plugin(platform)
        return xla.make_c_api_client(platform, {})


@contextmanager
def _memory_errors() -> Iterator[None]:
    try:
        yield
    except _xla().XlaRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UsageError(
            f"the memory of a device is full: {_first_line(error)}",
            hint="Compile the model with fewer --kv-pages, or over more devices (--mesh).",
        ) from error


@contextmanager
def _no_device_errors(xla: Any, platform: str) -> Iterator[None]:
    try:
        yield
    except xla.XlaRuntimeError as error:
        raise no_device(platform, _first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
