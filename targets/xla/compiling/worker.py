"""A program of its own that compiles StableHLO with XLA, one request after the other.

It runs apart from the compiler since XLA and libtpu write to standard error, log where they like
and may abort.  It imports nothing of Ingot, so that it starts in a fraction of a second.

A request on standard input is a line of JSON with `platform`, `topology`, `options` of the
topology, `plugin` (a path), `assigned` (places of the devices in the topology that run the
program), `told` (options of the compiler) and `program_bytes`, then the program.  The reply on
standard output is a line with `executable_bytes` and `hlo_bytes` besides the facts, then both, or
a line with `error`.
"""

import json
import os
import sys
import time
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from jaxlib import _jax, xla_client
from jaxlib.mlir import ir
from jaxlib.mlir._mlir_libs import _jax_mlir_ext
from jaxlib.mlir.dialects import chlo, stablehlo

MEMORY = {
    "arguments": "argument_size_in_bytes",
    "outputs": "output_size_in_bytes",
    "aliased": "alias_size_in_bytes",
    "temporaries": "temp_size_in_bytes",
    "code": "generated_code_size_in_bytes",
}


def main() -> None:
    """Answer requests until standard input ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    clients: dict[str, Any] = {}
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        program = sys.stdin.buffer.read(request["program_bytes"])
        try:
            facts, executable, hlo = _compile(clients, request, program)
        except (_jax.JaxRuntimeError, ir.MLIRError, ValueError) as error:
            _reply(replies, {"error": str(error)})
        else:
            _reply(replies, facts, executable, zlib.compress(hlo.encode(), 1))


def _reply(
    replies: IO[bytes], facts: dict[str, Any], executable: bytes = b"", hlo: bytes = b""
) -> None:
    sizes = {"executable_bytes": len(executable), "hlo_bytes": len(hlo)}
    replies.write(json.dumps({**facts, **sizes}).encode() + b"\n" + executable + hlo)
    replies.flush()


def _compile(
    clients: dict[str, Any], request: Mapping[str, Any], program: bytes
) -> tuple[dict[str, Any], bytes, str]:
    devices = _devices(clients, request)
    chosen = [devices[place] for place in request["assigned"]]
    if not program:
        return _described(devices), b"", ""
    client = chosen[0].client
    with _context() as context:
        module = _module(context, program)
        start = time.monotonic()
        arguments = module, xla_client.DeviceList(tuple(chosen)), _options(chosen, request["told"])
        if request["platform"] == "cpu":
            compiled = client.compile_and_load(*arguments)
            executable = client.serialize_executable(compiled)
        else:
            compiled = client.compile(*arguments)
            executable = compiled.serialize()
        seconds = time.monotonic() - start
    modules = compiled.hlo_modules()
    facts = {"seconds": seconds, "flops": _flops(modules), "memory": _memory(compiled)}
    return facts, executable, "\n".join(one.to_string() for one in modules)


def _devices(clients: dict[str, Any], request: Mapping[str, Any]) -> list[Any]:
    """Return the devices of a topology; of the CPU as many as are assigned."""
    name = json.dumps([request[key] for key in ("platform", "topology", "options")])
    if request["platform"] == "cpu":
        count = 1 + max(request["assigned"])
        name = f"cpu {count}"
    if name not in clients:
        if request["platform"] == "cpu":
            clients[name] = xla_client.make_cpu_client(num_devices=count).local_devices()
        else:
            _load_plugin(request["platform"], request["plugin"])
            options = {key: _option(value) for key, value in request["options"].items()}
            topology = _jax.get_default_c_api_topology(
                request["platform"], request["topology"], options
            )
            clients[name] = topology._make_compile_only_devices()
    found: list[Any] = clients[name]
    return found


def _load_plugin(platform: str, path: str) -> None:
    if not xla_client.pjrt_plugin_loaded(platform):
        xla_client.load_pjrt_plugin_dynamically(platform, path)
        xla_client.initialize_pjrt_plugin(platform)


def _option(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _described(devices: list[Any]) -> dict[str, Any]:
    """Return where each device is: coordinates of its chip, and its place on the chip."""
    return {
        "kind": devices[0].device_kind,
        "coordinates": [[*device.coords, device.core_on_chip] for device in devices],
    }


def _context() -> Any:
    context = ir.Context()
    registry = ir.DialectRegistry()
    _jax_mlir_ext.register_dialects(registry)
    context.append_dialect_registry(registry)
    context.load_all_available_dialects()
    stablehlo.register_dialect(context)
    chlo.register_dialect(context)
    return context


def _module(context: Any, program: bytes) -> Any:
    if program.startswith(b"ML\xefR"):
        return stablehlo.deserialize_portable_artifact(context, program)
    return ir.Module.parse(program.decode())


def _options(devices: list[Any], told: dict[str, bool]) -> Any:
    """Return options for a program whose devices are replicas, in the order of `devices`.

    `told` are options of the platform's own compiler.
    """
    options = xla_client.CompileOptions()
    build = options.executable_build_options
    options.num_replicas = build.num_replicas = len(devices)
    options.num_partitions = build.num_partitions = 1
    build.use_spmd_partitioning = False
    numbers = np.array([device.id for device in devices]).reshape(-1, 1)
    assignment = xla_client.DeviceAssignment.create(numbers)
    options.device_assignment = build.device_assignment = assignment
    options.env_option_overrides = list(told.items())
    return options


def _flops(modules: list[Any]) -> float:
    """Return the operations of optimised modules; a loop's body counts once.

    The CPU's client is asked, since not every plugin answers.
    """
    client = xla_client.make_cpu_client()
    costs = [_jax.hlo_module_cost_analysis(client, module) for module in modules]
    return sum(max(0.0, float(cost.get("flops", 0.0))) for cost in costs)


def _memory(compiled: Any) -> dict[str, int]:
    stats = compiled.get_compiled_memory_stats()
    return {name: int(getattr(stats, attribute)) for name, attribute in MEMORY.items()}


if __name__ == "__main__":
    main()
