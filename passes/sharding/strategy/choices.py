"""The shardings chosen for weights, until all are known to fit."""

from dataclasses import dataclass, field

from ingot.ir import (
    Linear,
    Mesh,
    Op,
    Part,
    Sharding,
    Value,
    after,
    set_shardings,
    shardings_of,
)

OUTPUTS, INPUTS = 0, 1


@dataclass
class Choices:
    """Which operand of which operation, by its field, is divided how."""

    made: dict[Value, tuple[Op, dict[str, Sharding]]] = field(default_factory=dict)

    def divide(self, op: Op, name: str, sharding: Sharding) -> None:
        """Divide the weight that `op` has in the field `name`; the first choice stays."""
        _, chosen = self.made.setdefault(op.results[0], (op, {}))
        chosen.setdefault(name, sharding)

    def of(self, op: Op, name: str) -> Sharding | None:
        """Return what was chosen, None where nothing was."""
        _, chosen = self.made.get(op.results[0], (op, {}))
        return chosen.get(name)

    def divide_linear(self, op: Linear, dim: int, part: Part) -> None:
        """Divide the outputs of a linear, its bias with them, or the inputs."""
        if self.of(op, "w") is not None:
            return
        self.divide(op, "w", Sharding.along(2, dim, part))
        if dim == OUTPUTS and op.bias is not None:
            self.divide(op, "bias", Sharding.along(1, 0, part))

    def write(self, mesh: Mesh) -> None:
        """Write the shardings at the weights; one that is wanted in two ways is read twice."""
        for op, chosen in self.made.values():
            for name, sharding in chosen.items():
                value: Value = getattr(op, name)
                found = shardings_of(value.owner, mesh)
                if found is not None and found != (sharding,):
                    value = _again(op, value)
                set_shardings(value.owner, [sharding], mesh)


def _again(op: Op, value: Value) -> Value:
    """Let `op` read a copy of the operation that makes a weight."""
    with after(value.owner):
        copy = value.owner.operation.clone()
    made: Value = copy.results[0]
    for index, operand in enumerate(op.operation.operands):
        if operand == value:
            op.operation.operands[index] = made
    return made
