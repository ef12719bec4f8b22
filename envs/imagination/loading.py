"""What the imagination envs are made of: model, judge, starts, spaces; each given or found."""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from worldsim.envs.imagination.starts import SimulatorStarts, StartSource
from worldsim.envs.task_space import TaskText
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.judge.judge import REPORT, Judge, load_pretrained_judge
from worldsim.models.pretrained import locate, resolve_folder
from worldsim.models.world_model import WorldModel
from worldsim.spec import WorldSpec

DEFAULT_MODEL = "shipped/push"
DEFAULT_HORIZON = 50
"""Of starts from data, which tell no horizon."""


def judge_folder(judge: str | Path | None, model: str | Path) -> Path:
    """Folder of a judge: what `judge` names, or the judge in it; for None what lies with the model.

    Raises:
        UsageError: there is none.
    """
    if judge is not None:
        given = locate(judge)
        return given / "judge" if (given / "judge").is_dir() else given
    folder = resolve_folder(model)
    for found in (folder / "judge", folder.parent / "judge"):
        if (found / REPORT).is_file():
            return found
    raise UsageError(
        f"{model} carries no judge (neither {folder / 'judge'} nor {folder.parent / 'judge'}); "
        "give judge=FOLDER, or train one with `worldsim train stage=judge`"
    )


def load_model(model: WorldModel | str | Path) -> WorldModel:
    """`model` itself, or the one that `from_pretrained` finds."""
    if isinstance(model, WorldModel):
        return model
    return WorldModel.from_pretrained(model)


def load_judge(judge: Judge | str | Path | None, model: WorldModel | str | Path) -> Judge:
    """`judge` itself, or the one that `judge_folder` finds.

    Raises:
        UsageError: there is none.
    """
    if isinstance(judge, Judge):
        return judge
    if judge is None and isinstance(model, WorldModel):
        raise UsageError("a judge is needed beside a model object; pass judge=Judge or its folder")
    where = "" if isinstance(model, WorldModel) else model
    return load_pretrained_judge(judge_folder(judge, where))


def find_judge(judge: str | Path | None, model: str | Path) -> Judge | None:
    """The judge in a folder, or for None the one that lies with the model, if there is one.

    Raises:
        UsageError: a folder was named and holds none.
    """
    try:
        return load_pretrained_judge(judge_folder(judge, model))
    except UsageError:
        if judge is not None:
            raise
        return None


def load_starts(starts: StartSource | None, judge: Judge, model: WorldModel) -> StartSource:
    """`starts`, or for None the simulator whose episodes the judge was trained on.

    Raises:
        UsageError: None was given and the judge knows no simulator.
        SpecMismatchError: the starts are of another world than the model.
    """
    if starts is not None:
        model.spec.require_compatible(starts.spec, "the world model", "the starts")
        return starts
    if judge.env is None:
        raise UsageError(
            "no starts: the judge was trained on data without a simulator; pass "
            "starts=DatasetStarts(...) or FrameStarts(...)"
        )
    made = SimulatorStarts(judge.env.id, judge.env.kwargs)
    try:
        model.spec.require_compatible(made.spec, "the world model", "the starts")
    except SpecMismatchError:
        made.close()
        raise
    return made


def horizon_of(starts: StartSource) -> int:
    """Actions after which the simulator that the starts come from truncates an episode."""
    return int(getattr(starts, "max_episode_steps", None) or DEFAULT_HORIZON)


def observation_space(spec: WorldSpec) -> spaces.Dict:
    """`pixels` {camera: uint8 [H, W, 3]}, `agent_pos` `[P]` unbounded, `task` text.

    For worlds known by their data alone; where there is a simulator, its own space is taken.
    """
    return spaces.Dict(
        {
            "pixels": spaces.Dict(
                {
                    camera.name: spaces.Box(0, 255, (camera.height, camera.width, 3), np.uint8)
                    for camera in spec.cameras
                }
            ),
            "agent_pos": spaces.Box(-np.inf, np.inf, (spec.agent_pos.dim,), np.float32),
            "task": TaskText(),
        }
    )


def known_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """An autoreset mode, or the one of this name.

    Raises:
        UsageError: there is none.
    """
    if isinstance(mode, AutoresetMode):
        return mode
    for known in AutoresetMode:
        if mode in (known.value, known.name):
            return known
    raise UsageError(
        f"autoreset_mode {mode!r} is unknown; known: {[m.name for m in AutoresetMode]}"
    )


def unknown_options(options: dict[str, Any], known: set[str]) -> None:
    """Refuse reset options that nobody reads."""
    if extra := sorted(set(options) - known):
        raise UsageError(f"reset options {extra} are unknown; known: {', '.join(sorted(known))}")
