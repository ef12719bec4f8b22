"""What a run takes over from earlier ones: a model to train further, or parts of a donor.

Their sizes hold in the run. What nobody stated becomes as it is there. What was stated otherwise
is refused, since it could not be followed.
"""

import copy
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from worldsim.config.values import keys_of
from worldsim.errors import DataWarning, UsageError
from worldsim.memory.base import MemoryConfig
from worldsim.models.dynamics.base import Dynamics, build_dynamics
from worldsim.models.tokenizers.base import Tokenizer
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.models.transfer import transferred
from worldsim.models.world_model import WorldModel, trained_config
from worldsim.spec import WorldSpec
from worldsim.training.batches import mix
from worldsim.training.loss import student_of
from worldsim.training.run_folder import RunFolder, load_tokenizer, tokenizer_config
from worldsim.training.train_config import TrainConfig

CONTEXT = ("recent", "sink", *(f"memory.{name}" for name in sorted(keys_of(MemoryConfig))))
"""Keys of `model` that a model trained further may have otherwise."""
LEARNT = ("ladder", "calibrated", "state_labels", "depth_labels", "event_labels")
"""Those that say what it was trained for, which training decides."""


@dataclass(frozen=True)
class Inheritance:
    """Sizes that hold in a run because it takes over what has them.

    Attributes:
        option: by which they were taken over, such as `start_from=runs/push`.
        sizes: {key of `model`, dotted: value}.
    """

    option: str
    sizes: dict[str, Any]


def inherited(config: DictConfig, stated: Collection[str]) -> DictConfig:
    """The config of a run with the sizes of what it takes over.

    Args:
        config: a composed `configs/train.yaml`; it is left as it is.
        stated: keys of `model` that were given values, see `worldsim.config.compose.stated_keys`.

    Raises:
        UsageError: a stated size differs from that of what is taken over, or that is not there.
    """
    config = copy.deepcopy(config)
    for source in _sources(config):
        wrong = []
        for name, value in source.sizes.items():
            key = f"model.{name}"
            given = OmegaConf.select(config, key, default=value)
            if given == value:
                continue
            if not _is_stated(key, stated):
                OmegaConf.update(config, key, value)
            elif name not in CONTEXT:
                wrong.append(f"{key}={_shown(given)} (there {_shown(value)})")
        if wrong:
            raise UsageError(
                f"{source.option} brings its own sizes, and these were asked to be others: "
                f"{', '.join(wrong)}. Leave them out of command line and experiment, and its own "
                "hold; for others train afresh (reuse=FOLDER takes a tokenizer over), or, where "
                "only model.dynamics differs, begin with it by transfer_from="
            )
    return config


def _sources(config: DictConfig) -> Iterator[Inheritance]:
    """What the run takes over, as `Parents` does."""
    if config.start_from:
        yield _of_model("start_from", str(config.start_from), lambda _: True)
        return
    if config.transfer_from:
        yield _of_model("transfer_from", str(config.transfer_from), _is_not_dynamics)
    elif config.reuse:
        yield Inheritance(f"reuse={config.reuse}", _tokenizer_sizes(Path(config.reuse)))
    if config.reuse and config.dynamics.keep:
        yield _of_model("reuse", str(config.reuse), lambda name: not _is_not_dynamics(name))


def _of_model(option: str, reference: str, holds: Callable[[str], bool]) -> Inheritance:
    sizes = _flat({k: v for k, v in asdict(trained_config(reference)).items() if k not in LEARNT})
    kept = {name: value for name, value in sizes.items() if holds(name)}
    return Inheritance(f"{option}={reference}", kept)


def _tokenizer_sizes(reference: Path) -> dict[str, Any]:
    folder = RunFolder(reference).tokenizer
    if folder.is_dir():
        return _flat({"tokenizer": asdict(tokenizer_config(folder))})
    return _flat({"tokenizer": asdict(trained_config(reference).tokenizer)})


def _is_not_dynamics(name: str) -> bool:
    return not name.startswith("dynamics.")


def _flat(sizes: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested sizes by dotted names."""
    found: dict[str, Any] = {}
    for name, value in sizes.items():
        nested = isinstance(value, dict)
        found |= _flat(value, f"{above}{name}.") if nested else {f"{above}{name}": value}
    return found


def _is_stated(key: str, stated: Collection[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in stated)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Parents:
    """Models that a run begins with; each is read when it is first asked for.

    Args:
        config: the run.
        spec: of its data.
    """

    def __init__(self, config: TrainConfig, spec: WorldSpec) -> None:
        self._config, self._spec = config, spec

    @cached_property
    def further(self) -> WorldModel | None:
        """The model to train further, which stays as it is."""
        named = self._config.start_from
        return None if named is None else self._compatible(named)

    @cached_property
    def _donor(self) -> WorldModel:
        """The world model named by `reuse`."""
        return self._compatible(str(self._config.reuse))

    @cached_property
    def _relative(self) -> WorldModel | None:
        """A model of another task to begin with."""
        named = self._config.transfer_from
        return None if named is None else WorldModel.from_pretrained(named)

    def _compatible(self, reference: str) -> WorldModel:
        model = WorldModel.from_pretrained(reference)
        model.spec.require_compatible(self._spec, f"model {reference}", "the data set")
        return model

    def tokenizer(self) -> Tokenizer | None:
        """Of the model to train further, to transfer from or to reuse, if there is any."""
        for model in (self.further, self._relative):
            if model is not None:
                return model.tokenizer
        if self._config.reuse is None:
            return None
        folder = RunFolder(self._config.reuse).tokenizer
        return load_tokenizer(folder) if folder.is_dir() else self._donor.tokenizer

    def dynamics(self) -> Dynamics:
        """Those of the model to train further; of what is reused, if they are to be kept; fresh
        ones otherwise.

        Raises:
            UsageError: those to be kept have other sizes than the run's.
        """
        if self.further is not None:
            return copy.deepcopy(self.further.dynamics).requires_grad_(True)
        sizes = self._config.model.dynamics
        if self._config.dynamics.keep:
            if self._donor.config.dynamics != sizes:
                raise UsageError(
                    f"the dynamics of {self._config.reuse} are {self._donor.config.dynamics}, and "
                    f"model.dynamics says {sizes}; give it the same"
                )
            return copy.deepcopy(self._donor.dynamics)
        torch.manual_seed(mix(self._config.seed, "dynamics"))
        return build_dynamics(sizes, self._spec)

    def world(self) -> WorldModel:
        """A model to be trained: a copy of the one to train further, one that begins with another
        task's, or a fresh one."""
        torch.manual_seed(mix(self._config.seed, "world"))
        if self.further is not None:
            sizes = self._config.model
            model = student_of(self.further, self._config.plan)
            model.spec = self._widened(self.further.spec)
            return model.remembering(sizes.recent, sizes.sink, sizes.memory)
        if self._relative is not None:
            sizes = self._config.model
            model = transferred(self._relative, self._spec, sizes.dynamics)
            model = model.trained_on(self._config.plan.ladder(TrainedLadder()))
            return model.remembering(sizes.recent, sizes.sink, sizes.memory)
        ladder = self._config.plan.ladder(TrainedLadder())
        model = WorldModel(replace(self._config.model, ladder=ladder), self._spec)
        model.denoiser.take_weights()
        return model

    def _widened(self, spec: WorldSpec) -> WorldSpec:
        """The world of the model to train further, whose actions also reach as far as the data's.

        Warns if they do so only now.
        """
        action = spec.action.widened(self._spec.action)
        if action != spec.action:
            warnings.warn(
                f"the data set's actions leave the limits of model {self._config.start_from}, "
                "which were measured in its own data; the trained model's hold both",
                DataWarning,
                stacklevel=2,
            )
        return replace(spec, action=action)

    def teacher(self) -> WorldModel | None:
        """The frozen model that training starts from, where the plan needs it further on."""
        return self.further if self._config.plan.has_teacher else None
