"""metrics.jsonl: one JSON object a line, exact across resumes; TensorBoard and W&B as extras."""

import json
import math
from argparse import Namespace
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from worldsim.errors import MissingExtraError
from worldsim.files import write_text
from worldsim.training.config import LoggerName, StageName


def rewind(path: Path, stage: str, step: int) -> None:
    """Drop lines of `stage` after `step`, and a half-written last line."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row.get("stage") != stage or row.get("step", 0) <= step:
            kept.append(line)
    write_text(path, "".join(line + "\n" for line in kept))


class JsonlLogger(Logger):
    """Appends `{"stage", "step", metric: value, ...}` lines to `path`.

    Args:
        path: the file; created when first written to.
        stage: stands in every line.
    """

    def __init__(self, path: Path, stage: StageName) -> None:
        super().__init__()
        self._path = path
        self._stage = stage

    @property
    def name(self) -> str:
        """The stage."""
        return self._stage

    @property
    def version(self) -> str:
        """There is one version."""
        return "0"

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append one line; values that are not finite become null."""
        row: dict[str, Any] = {"stage": self._stage, "step": step}
        for name, value in metrics.items():
            number = float(value)
            row[name] = round(number, 8) if math.isfinite(number) else None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """The resolved config stands in config.yaml; nothing is repeated here."""


def require_packages(extras: tuple[LoggerName, ...]) -> None:
    """Refuse loggers whose packages are absent, before anything is trained.

    Raises:
        MissingExtraError: names the extra to install.
    """
    for name in extras:
        if find_spec(name) is None:
            raise MissingExtraError(name, name)


def build_loggers(
    path: Path, stage: StageName, extras: tuple[LoggerName, ...], project: str = "worldsim"
) -> list[Logger]:
    """The JSON-lines logger and the extras named.

    Raises:
        MissingExtraError: the extra's package is not installed.
    """
    loggers: list[Logger] = [JsonlLogger(path, stage)]
    for name in extras:
        if name == "tensorboard":
            loggers.append(_tensorboard(path.parent, stage))
        else:
            loggers.append(_wandb(path.parent, stage, project))
    return loggers


def _tensorboard(folder: Path, stage: str) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(folder, name="tensorboard", version=stage)
    except ModuleNotFoundError as error:
        raise MissingExtraError("tensorboard", "tensorboard") from error


def _wandb(folder: Path, stage: str, project: str) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    try:
        return WandbLogger(name=f"{folder.name}-{stage}", save_dir=folder, project=project)
    except ModuleNotFoundError as error:
        raise MissingExtraError("wandb", "wandb") from error
