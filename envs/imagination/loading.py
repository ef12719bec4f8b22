"""Arguments of the imagination envs: a model or its name, a judge or its folder, starts."""

from pathlib import Path
from typing import Any

from worldsim.envs.imagination.starts import SimulatorStarts, StartSource
from worldsim.errors import UsageError
from worldsim.evaluation.judge import Judge
from worldsim.models.pretrained import resolve_folder
from worldsim.models.world_model import WorldModel

DEFAULT_MODEL = "shipped/push"


def load_model(model: WorldModel | str | Path) -> WorldModel:
    """`model` itself, or what `WorldModel.from_pretrained` finds under that name."""
    return model if isinstance(model, WorldModel) else WorldModel.from_pretrained(model)


def load_judge(judge: Judge | str | Path | None, model: WorldModel | str | Path) -> Judge:
    """`judge` itself, the one in that folder, or for None the one beside the model.

    Raises:
        UsageError: None was given and the model is no folder, or has no `judge` folder in it.
    """
    if isinstance(judge, Judge):
        return judge
    if judge is not None:
        return Judge.from_pretrained(judge)
    if isinstance(model, WorldModel):
        raise UsageError("a judge is needed beside a model object; pass judge=Judge or its folder")
    folder = resolve_folder(model) / "judge"
    if not folder.is_dir():
        raise UsageError(f"{model} carries no judge (no folder {folder}); pass judge=FOLDER")
    return Judge.from_pretrained(folder)


def load_starts(starts: StartSource | None, judge: Judge, model: WorldModel) -> StartSource:
    """`starts`, or for None the simulator whose episodes the judge was trained on.

    Raises:
        UsageError: None was given and the judge knows no simulator.
        SpecMismatchError: the starts are of another world than the model.
    """
    if starts is None:
        if judge.env is None:
            raise UsageError(
                "no starts: the judge was trained on data without a simulator; pass "
                "starts=DatasetStarts(...) or FrameStarts(...)"
            )
        starts = SimulatorStarts(judge.env.id, judge.env.kwargs)
    model.spec.require_compatible(starts.spec, "the world model", "the starts")
    return starts


def unknown_options(options: dict[str, Any], known: set[str]) -> None:
    """Refuse reset options that nobody reads."""
    if extra := sorted(set(options) - known):
        raise UsageError(f"reset options {extra} are unknown; known: {', '.join(sorted(known))}")
