"""What the targets that lower to StableHLO have in common: the stages, and the target itself.

passes       the module of one device, its collectives written out
lower        weights, KV cache and the sizes of the steps
programs     one portable StableHLO program for each step and pipeline stage
executables  what the platform's compiler makes of them
"""

from dataclasses import dataclass, replace
from functools import partial

from ingot.errors import UsageError
from ingot.executables import platform_build
from ingot.ir import Mesh
from ingot.passes import decompose_composites
from ingot.targets.base import Build, Program, Settings, Stage, Target, run_passes
from ingot.targets.hardware import Hardware
from ingot.targets.meshes import mesh_of

from . import lowering
from .compiling import require
from .executables import compile_steps
from .lowering import Options, StepShape
from .lowering.program import Floats
from .memory import blocks_of, cache_of, limits_of, room_for_pages
from .parameters import pack
from .pipeline import pipeline_of
from .plan import Plan, PlannedStage, Step
from .platform import Platform
from .steps import Sizes, step_shapes


@dataclass(frozen=True)
class Member:
    """One target of these families.

    `compute` is the type of the factors of products, and of weights that stay floats, where the
    user names none.  `roll` says that runs of equal layers become loops.  `ahead` says that the
    programs are compiled now; the runtime compiles those of the machine that it runs on.
    `variants` are the names of the family's members.
    """

    family: str
    variant: str
    description: str
    platform: Platform
    sizes: Sizes
    compute: Floats
    hardware: Hardware | None = None
    roll: bool = False
    ahead: bool = True
    variants: tuple[str, ...] = ()

    @property
    def mesh(self) -> str:
        """The mesh where the user names none: tensor parallel over all devices there are."""
        return f"tp{self.platform.devices}" if self.platform.devices > 1 else ""

    @property
    def plan_file(self) -> str:
        """The plan's name in the artifact."""
        return f"targets/{self.family}/plan.json"

    def mesh_for(self, settings: Settings) -> Mesh | None:
        """Return the mesh of a compile, None for one device."""
        return mesh_of(settings, self.mesh)

    def pipeline(self, settings: Settings) -> str:
        """Return the passes for some settings, as text."""
        floats = "" if self.compute == "float32" else self.compute
        return pipeline_of(settings, floats=floats, mesh=self.mesh)

    def options(self, settings: Settings) -> Options:
        """Return how a module is lowered."""
        compute = self.compute if settings.dtype == "auto" else settings.dtype
        chip = self.platform.topology.partition(":")[0] if self.platform.name == "tpu" else ""
        return Options(compute, self.roll, chip)

    def kv_dtype(self, settings: Settings) -> Floats:
        """Return the type of the KV cache: that of the factors, where the user names none."""
        if settings.kv_dtype == "int8":
            raise UsageError(
                f"target {self.family} keeps its KV cache in float32 or bfloat16, not in int8",
                where="--kv-dtype",
                hint="Give float32, bfloat16 or auto.",
            )
        return self.options(settings).compute if settings.kv_dtype == "auto" else settings.kv_dtype


def target_of(member: Member, *, runs: bool = True) -> Target:
    """Return the target that a member describes; one that never `runs` ends before programs."""
    programs = (
        Stage("programs", partial(_write_programs, member)),
        Stage("executables", partial(_compile, member)),
    )
    return Target(
        name=member.family,
        variant=member.variant,
        description=member.description,
        levels=(),
        pipeline=member.pipeline,
        stages=(
            Stage("passes", lambda build: run_passes(build, member.pipeline(build.settings))),
            Stage("lower", partial(_lower, member)),
            *(programs if runs else ()),
            Stage("plan", partial(_write_plan, member)),
        ),
        pack=lambda weight, value: pack(weight.packing, value),
        devices=member.platform.devices,
        mesh=member.mesh,
        hardware=member.hardware,
        variants=member.variants,
        require=partial(require, member.platform.name) if runs else lambda: None,
    )


def _lower(member: Member, build: Build) -> Build:
    """Decide on weights, pages and steps; the plan names no files yet."""
    settings, options = build.settings, member.options(build.settings)
    if decompose_composites(build.module, lowering.can_lower):
        build.watch("decompose", build.module)
    lowering.check_operations(build.module)
    mesh, dtype = member.mesh_for(settings), member.kv_dtype(settings)
    sizes = member.sizes.chosen(settings)
    weights, pools = (
        lowering.weights_of(build.module, options),
        lowering.pools_of(build.module, options),
    )
    devices = mesh.devices if mesh is not None else 1
    room = room_for_pages(pools, weights.parameters, dtype, devices, member.hardware)
    limits = limits_of(build.facts, settings, mesh, max(sizes.decode), room)
    plan = Plan(
        platform=member.platform,
        mesh=str(mesh) if mesh is not None else "",
        build=platform_build(member.platform.name) if member.ahead else "",
        limits=limits,
        cache=cache_of(limits, mesh, dtype),
        pools=pools,
        parameters=weights.parameters,
        steps=tuple(Step(shape, ()) for shape in step_shapes(sizes, blocks_of(limits))),
    )
    return replace(build, program=Program(plan, (), weights.packed))


def _write_programs(member: Member, build: Build) -> Build:
    """Lower the module once for each step, and keep what StableHLO promises to read for years.

    Not in a dry run, which so needs no jaxlib.
    """
    plan, options = _plan(build), member.options(build.settings)
    if build.dry_run:
        return build
    require(member.platform.name)
    files, steps = dict(build.files), []
    for step in plan.steps:
        name, stages = step_name(step.shape), []
        for made in lowering.lower_step(build.module, step.shape, plan.cache, options):
            path = f"targets/{member.family}/{name}.{made.stage}.mlir.bc"
            build.watch(f"{name}.{made.stage}", made.text)
            files[path] = made.portable()
            stages.append(PlannedStage(path))
        steps.append(Step(step.shape, tuple(stages)))
    return _with_plan(replace(build, files=files), replace(plan, steps=tuple(steps)))


def _compile(member: Member, build: Build) -> Build:
    """Compile the programs, where that is done ahead of time and is not a dry run."""
    if build.dry_run or not member.ahead:
        return build
    compiled = compile_steps(_plan(build), build.files, build.watch)
    files = {**build.files, **compiled.files}
    notes = {**build.notes, "programs": compiled.facts}
    return _with_plan(replace(build, files=files, notes=notes), compiled.plan)


def _write_plan(member: Member, build: Build) -> Build:
    """Write the plan, and say of it what the manifest tells."""
    plan = _plan(build)
    text = plan.text()
    build.watch("plan", text)
    notes = {
        "variant": member.variant,
        "topology": plan.platform.topology,
        "mesh": plan.mesh,
        "steps": [step_name(step.shape) for step in plan.steps],
        "compiler": plan.build,
        **build.notes,
    }
    return replace(build, files={**build.files, member.plan_file: text.encode()}, notes=notes)


def _plan(build: Build) -> Plan:
    assert build.program is not None and isinstance(build.program.plan, Plan)
    return build.program.plan


def _with_plan(build: Build, plan: Plan) -> Build:
    assert build.program is not None
    return replace(build, program=replace(build.program, plan=plan))


def step_name(shape: StepShape) -> str:
    """Return what a step's files are called: `decode-8`, `prefill-128`, `prefill-128-rows`."""
    kind = "decode" if shape.decode else "prefill"
    return f"{kind}-{shape.tokens}" + ("-rows" if shape.rows > shape.sequences else "")
