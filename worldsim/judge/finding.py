"""Where a judge lies: in the folder that is named, or with the world model it belongs to."""

from pathlib import Path

from worldsim.errors import UsageError
from worldsim.judge.judge import REPORT, Judge, load_pretrained_judge
from worldsim.models.pretrained import locate, resolve_folder
from worldsim.models.world_model import WorldModel


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
