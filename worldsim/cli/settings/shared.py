"""Keys of several commands: models, judges, devices, and what of a data set is taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from worldsim.config.limits import Limit, Text
from worldsim.config.values import Checked
from worldsim.data.selection import ColumnOptions, Selection, read_selection
from worldsim.errors import UsageError
from worldsim.hardware import inference_device
from worldsim.judge.finding import judge_folder
from worldsim.judge.judge import REPORT
from worldsim.models.pretrained import HUB_PREFIX, resolve_folder
from worldsim.models.weights import CONFIG
from worldsim.models.world_model import WorldModelConfig
from worldsim.sampling.sampler import Sampler, default_steps
from worldsim.training.run_folder import RunFolder


def is_model(reference: str) -> bool:
    """Whether a world model lies where a name says; the hub is asked only when it is loaded."""
    if not reference.strip():
        return False
    if reference.startswith(HUB_PREFIX):
        return True
    folder = resolve_folder(reference)
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{folder} holds no {CONFIG}; expected the folder of a trained model")
    return True


def is_judge(reference: str) -> bool:
    """Whether a judge lies where a name says."""
    if not reference.strip():
        return False
    folder = judge_folder(reference, "")
    if not (folder / REPORT).is_file():
        raise UsageError(f"{folder} holds no {REPORT}; expected the folder of a judge")
    return True


def is_donor(reference: str) -> bool:
    """Whether a run with a tokenizer, or a world model, lies where a name says."""
    return bool(reference.strip()) and (
        RunFolder(Path(reference)).tokenizer.is_dir() or is_model(reference)
    )


def _imported(modules: Sequence[str]) -> bool:
    """Import modules that register envs."""
    from worldsim.envs import import_modules

    import_modules(modules)
    return True


MODEL = Limit("a model's folder, a run's, shipped/<name> or one on the hub", is_model)
DONOR = Limit("a run's folder, a model's or shipped/<name>", is_donor)
ModelName = Annotated[str, MODEL]
JudgeName = Annotated[str, Limit("the folder of a judge", is_judge)]
Imports = Annotated[tuple[Text, ...], Limit("modules that can be imported", _imported)]
"""Modules that register envs, imported when the key is checked."""
Device = Annotated[str, Limit("cpu, cuda or auto", lambda name: inference_device(name) is not None)]


@dataclass(frozen=True)
class SamplerNode(Checked):
    """Node `sampler`, keys of `Sampler`; a subclass has those of its command."""

    steps: int | None

    def of(self, config: WorldModelConfig) -> Sampler:
        """The sampler of a model, whose own number of steps stands where none is given."""
        steps = default_steps(config) if self.steps is None else self.steps
        return Sampler(**{**vars(self), "steps": steps})


@dataclass(frozen=True)
class Selecting(Checked):
    """Keys `columns` and `episodes`; see `worldsim.data.selection.read_selection`."""

    columns: ColumnOptions
    episodes: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.selection  # refuses what cannot be read

    @property
    def selection(self) -> Selection:
        """What of the data set is taken."""
        return read_selection(self.columns, self.episodes)
