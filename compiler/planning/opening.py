"""Opens the model that a plan is for: a checkpoint, or its configuration alone."""

from pathlib import Path

from ingot.compiler.doctor import has_weights
from ingot.compiler.stages import Front, model_facts
from ingot.models import import_model, open_blueprint, open_checkpoint
from ingot.targets import Settings, Target

from .plan import Plan, make_plan
from .question import Progress
from .request import Request


def plan_model(
    path: str | Path,
    target: Target,
    request: Request,
    progress: Progress,
    *,
    settings: Settings | None = None,
    compiles: bool = True,
    model: str = "",
) -> Plan:
    """Return the plan for the model at `path`, of whose weights nothing but headers is read.

    Raises what `open_checkpoint` and `make_plan` raise.
    """
    path = Path(path)
    progress("import", 0, 0)
    checkpoint = open_checkpoint(path) if has_weights(path) else open_blueprint(path)
    front = Front(checkpoint, import_model(checkpoint))
    return make_plan(
        checkpoint,
        front.module,
        model_facts(front),
        target,
        settings or Settings(),
        request,
        progress,
        model=model or str(path),
        compiles=compiles,
    )
