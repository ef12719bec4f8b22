"""What the imagination envs are made of, given or found: model and starts.

Judges are found by `worldsim.judge.finding`.
"""

from pathlib import Path

from worldsim.envs.imagination.starts import SimulatorStarts, StartSource
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.judge.judge import Judge
from worldsim.models.world_model import WorldModel

DEFAULT_MODEL = "shipped/push"
DEFAULT_HORIZON = 50
"""Of starts from data, which tell no horizon."""


def load_model(model: WorldModel | str | Path) -> WorldModel:
    """`model` itself, or the one that `from_pretrained` finds."""
    if isinstance(model, WorldModel):
        return model
    return WorldModel.from_pretrained(model)


def load_starts(starts: StartSource | None, judge: Judge, model: WorldModel) -> StartSource:
    """`starts`, or for None the simulator whose episodes the judge was trained on.

    Raises:
        UsageError: None was given and the judge knows no simulator.
        SpecMismatchError: the starts are of another world than the model.
    """
    made = None
    if starts is None:
        if judge.env is None:
            raise UsageError(
                "no starts: the judge was trained on data without a simulator; pass "
                "starts=DatasetStarts(...) or FrameStarts(...)"
            )
        starts = made = SimulatorStarts(judge.env.id, judge.env.kwargs)
    try:
        model.spec.require_compatible(starts.spec, "the world model", "the starts", stateless=True)
    except SpecMismatchError:
        if made is not None:
            made.close()
        raise
    return starts
