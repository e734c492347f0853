"""Divides experts: whole ones along `ep`, the features inside each along `tp`."""

from ingot.ir import Block, Experts, Mesh, Part, Sharding
from ingot.passes.core import ops_of

from .choices import Choices
from .needs import Needs, add_inputs


def divide_experts(block: Block, mesh: Mesh, choices: Choices, needs: Needs) -> None:
    """Choose for the weights of every layer of experts; what routes to them stays whole."""
    for op in ops_of(block):
        if isinstance(op, Experts):
            _require(op, mesh, needs)
            _divide(op, mesh, choices)


def _require(op: Experts, mesh: Mesh, needs: Needs) -> None:
    experts = op.experts
    if mesh.size("ep") > 1:
        needs.add(op, "ep", f"{experts} experts", lambda size: experts % size == 0)
        if op.weigh_input and op.down_bias is not None:
            # A bias that no weight multiplies would be added wherever a token has no expert.
            needs.add(op, "ep", "experts with biases behind weighed inputs", lambda size: False)
    if mesh.size("tp") > 1:
        add_inputs(needs, op, "tp", "features inside experts", op.down)


def _divide(op: Experts, mesh: Mesh, choices: Choices) -> None:
    whole: list[Part] = []
    inside: list[Part] = []
    features: list[Part] = []
    if mesh.size("ep") > 1:
        whole.append(Part("ep", mesh.size("ep")))
    if mesh.size("tp") > 1:
        size, here = mesh.size("tp"), op.experts // mesh.size("ep")
        inside.append(Part("tp", size, here * (2 if op.gated else 1)))
        features.append(Part("tp", size))
    if whole or inside:
        choices.divide(op, "up", Sharding(((*whole, *inside), ())))
        choices.divide(op, "down", Sharding((tuple(whole), tuple(features))))
        if op.up_bias is not None:
            choices.divide(op, "up_bias", Sharding(((*whole, *inside),)))
        if op.down_bias is not None and whole:
            choices.divide(op, "down_bias", Sharding((tuple(whole),)))
