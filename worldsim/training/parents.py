"""What a run takes over from earlier ones: a model to train further, or parts of a donor."""

import copy
import warnings
from dataclasses import replace
from functools import cached_property

import torch

from worldsim.errors import DataWarning, UsageError
from worldsim.models.dynamics.base import Dynamics, build_dynamics
from worldsim.models.tokenizers.autoencoder import Autoencoder
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.models.transfer import transferred
from worldsim.models.world_model import WorldModel
from worldsim.spec import WorldSpec
from worldsim.training.draws import mix
from worldsim.training.layout import RunFolder
from worldsim.training.plan.plan import student_of
from worldsim.training.tokenizer_folder import load_tokenizer
from worldsim.training.train_config import TrainConfig


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

    def tokenizer(self) -> Autoencoder | None:
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
            return model.remembering(sizes.recent, sizes.sink)
        if self._relative is not None:
            sizes = self._config.model
            model = transferred(self._relative, self._spec, sizes.dynamics)
            model = model.trained_on(self._config.plan.ladder(TrainedLadder()))
            return model.remembering(sizes.recent, sizes.sink)
        ladder = self._config.plan.ladder(TrainedLadder())
        return WorldModel(replace(self._config.model, ladder=ladder), self._spec)

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
