"""Writes the program of one device: local shapes, parts of weights, and the collectives between.

Every operation is built anew beside the old one, by its rule, on operands brought to where it wants
them; each value is brought to a sharding, and to a stage, once.
"""

from dataclasses import dataclass, field

from ingot.ir import (
    Mesh,
    Module,
    OpView,
    SendRecv,
    Sharding,
    Value,
    before,
    clear_shardings,
    func,
    is_weight_expression,
    shardings_of,
)
from ingot.passes.core import erase_dead, ops_of, step_block

from .context import contexts, set_sequence_parallel
from .local import operands_of
from .propagation import is_weight, placement_of
from .resharding import resharded
from .rule import Context, Placement, is_tensor, rule_of, whole
from .stages import clear_stages, stage_of
from .weights import local_weight


def write_program(module: Module) -> None:
    """Rewrite the step to what each device of the module's mesh runs.

    A module without a mesh stays as it is, as does one without shardings, in which nothing is
    divided yet.
    """
    mesh = module.mesh
    if mesh is None or not any(shardings_of(op, mesh) for op in ops_of(step_block(module))):
        return
    program = _Program(mesh)
    visited = list(contexts(module))
    for op, context in visited:
        if not is_weight(op):
            program.add(op, context)
        else:
            program.note_weights(op)
    for op, _ in reversed(visited):
        if not is_weight(op) and not isinstance(op, func.ReturnOp):
            op.operation.erase()
    block = step_block(module)
    erase_dead(block)
    for op in ops_of(block):
        clear_shardings(op)
        clear_stages(op)
    set_sequence_parallel(module, False)


@dataclass
class _Program:
    """The program while it is written."""

    mesh: Mesh
    known: dict[Value, Sharding] = field(default_factory=dict)
    """The sharding of each value of the old program that is not a free weight."""
    stages: dict[Value, int] = field(default_factory=dict)
    placed: dict[tuple[Value, Sharding, int], Value] = field(default_factory=dict)
    """What stands for an old value in a sharding, on the devices of a stage."""
    sent: dict[Value, Sharding] = field(default_factory=dict)
    """In which sharding a value goes from stage to stage."""

    def note_weights(self, op: OpView) -> None:
        found = shardings_of(op, self.mesh)
        self.known.update(zip(op.results, found or (), strict=False))

    def add(self, op: OpView, context: Context) -> None:
        """Build what stands for `op` on a device, before it."""
        if isinstance(op, func.ReturnOp):
            self._return(op)
            return
        stage = stage_of(op)
        placement = placement_of(op, self.known, context)
        with before(op):
            operands = {
                name: self._operand(value, placement.operands.get(name), stage)
                for name, value in operands_of(op).items()
            }
            made = rule_of(op).local(op, operands, placement, context)
        self._note(op, placement, list(made), stage)

    def _note(self, op: OpView, placement: Placement, made: list[Value], stage: int) -> None:
        wanted = shardings_of(op, self.mesh) or placement.results
        for index, old in enumerate(op.operation.results):
            value, found = made[index], placement.results[index]
            if found != wanted[index]:
                with before(op):
                    value = resharded(value, found, wanted[index], self.mesh)
            self.known[old], self.stages[old] = wanted[index], stage
            self.placed[old, wanted[index], stage] = value

    def _operand(self, value: Value, wanted: Sharding | None, stage: int) -> Value:
        if not is_tensor(value):
            return self.placed.get((value, whole(value), self.stages.get(value, 0)), value)
        return self._value(value, wanted or whole(value), stage)

    def _value(self, value: Value, wanted: Sharding, stage: int) -> Value:
        """Return what stands for `value` as `wanted` on the devices of `stage`."""
        if is_weight_expression(value):
            stage = 0
        elif value not in self.stages:
            return self._input(value, wanted)
        key = (value, wanted, stage)
        if key not in self.placed:
            self.placed[key] = self._made(value, wanted, stage)
        return self.placed[key]

    def _input(self, value: Value, wanted: Sharding) -> Value:
        assert wanted.is_replicated, f"an input of the step as {wanted}"
        return value

    def _made(self, value: Value, wanted: Sharding, stage: int) -> Value:
        if is_weight_expression(value):
            return local_weight(value, wanted, self.mesh)
        own = self.stages[value]
        with value.owner.location:
            assert stage >= own, f"a value of stage {own} is read in stage {stage}"
            if stage == own:
                found = self.known[value]
                return resharded(self.placed[value, found, own], found, wanted, self.mesh)
            # What travels is what is there, once: parts, but no terms of a sum.
            sent = self.sent.setdefault(value, _finished(self.known[value], wanted))
            if wanted != sent:
                return resharded(self._value(value, sent, stage), sent, wanted, self.mesh)
            return SendRecv(self._value(value, sent, stage - 1), stage=stage).out

    def _return(self, op: func.ReturnOp) -> None:
        last = self.mesh.size("pp") - 1
        with before(op):
            values = [self._operand(value, whole(value), last) for value in op.operands]
        for index, value in enumerate(values):
            op.operation.operands[index] = value


def _finished(found: Sharding, wanted: Sharding) -> Sharding:
    """Return the sharding that is there already, or that which is wanted of an open sum."""
    return wanted if found.partial else found
