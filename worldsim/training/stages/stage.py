"""What all stages of training share: the run they belong to, and claim, fit, record.

What measures a model lies above training in the import order, so it is handed in.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, ClassVar

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from worldsim.data.cache import CachedDataset
from worldsim.data.split import episodes_of
from worldsim.errors import DataError
from worldsim.models.published import PublishedConfig
from worldsim.sampling.sampler import Solver
from worldsim.training.batches import StageLoss, StepBatches, mix
from worldsim.training.config import FitConfig, StageName
from worldsim.training.loop import EmaCallback, Fitted, fit
from worldsim.training.run_folder import RunFolder, fingerprint
from worldsim.training.stages.parents import LEARNT, Parents
from worldsim.training.train_config import TrainConfig

CLAIMED_CONDITIONERS = ("effector", "objects", "rays", "outlines")
UNSAID: dict[tuple[str, str], Any] = {
    ("denoiser", "history"): 2,
    ("denoiser", "pure_noise"): True,
    ("rollout", "fade"): 0.0,
    ("rollout", "through"): 1,
    ("objective", "readings_every"): 1,
    ("objective", "depth"): 0.1,
    ("objective", "photometric"): 0.0,
    ("objective", "stride"): 0.3,
    ("objective", "events"): 0.5,
    ("denoiser", "render_reference"): True,
    ("head", "depth"): False,
    ("head", "finer"): 2,
    ("head", "stride"): False,
    ("head", "events"): False,
    ("memory", "redrawn"): 0,
    ("memory", "near"): 0.6,
    ("autoencoder", "weights"): None,
    ("denoiser", "published"): asdict(PublishedConfig()),
}
"""Fields that came later, with the value that all models and plans had before."""
CLAIMED_SOLVERS: dict[Solver, str] = {"ode": "flow", "renoise": "fresh"}


class TrainingRun:
    """What the stages of one run share.

    Args:
        config: the run.
        cache: its decoded data.
        folder: where everything goes.

    Attributes:
        parents: models that the run begins with.
        training: episodes to train on.
        held_out: episodes to validate on.
    """

    def __init__(self, config: TrainConfig, cache: CachedDataset, folder: RunFolder) -> None:
        self.config, self.cache, self.folder = config, cache, folder
        self.parents = Parents(config, cache.spec)
        self.training = episodes_of(cache.folds, "train")
        self.held_out = episodes_of(cache.folds, "val")
        if config.run.threads:
            torch.set_num_threads(config.run.threads)

    @cached_property
    def rows(self) -> Tensor:
        """Rows of the training episodes in the cache.

        Raises:
            DataError: there are none.
        """
        if not self.training:
            raise DataError(f"{self.cache.root} holds too few episodes to train on; collect more")
        spans = [self.cache.rows(episode) for episode in self.training]
        return torch.cat([torch.arange(span.start, span.stop) for span in spans])

    def check(self, stages: Sequence[StageName]) -> None:
        """Refuse stages of the folder that were begun under another config, before any begins.

        Raises:
            UsageError: a stage was begun under another config, and `overwrite` is off.
        """
        for stage in stages:
            if stage != "judge":  # whose key depends on the model that will be there
                self.folder.check_claim(stage, self.key(stage), self.config.overwrite)

    def key(self, stage: StageName) -> str:
        """Fingerprint of everything that decides what a stage makes."""
        config = self.config
        model, plan = _as_claimed(config)
        own: dict[str, Any] = {"seed": config.seed, "data": self.cache.fingerprint}
        for parent in ("start_from", "transfer_from"):
            own[parent] = str(getattr(config, parent))
        if stage in ("dynamics", "world", "decoder"):
            own["dynamics"] = [asdict(config.dynamics), asdict(config.dynamics_fit)]
            own["body"] = model["dynamics"]
            own["taught"] = config.plan.has_teacher
            if config.dynamics.keep:
                own["donor"] = str(config.reuse)
        if stage == "dynamics":
            return fingerprint(own)
        own["autoencoder"] = model["autoencoder"]
        if config.reuse is None:
            own["tokenizer"] = [asdict(config.tokenizer), asdict(config.tokenizer_fit)]
        else:
            own["reuse"] = str(config.reuse)
        if stage in ("world", "decoder"):
            own["model"], own["plan"] = model, plan
            own["fit"] = asdict(config.world_fit)
        if stage == "decoder":
            own["decoder"] = [asdict(config.decoder), asdict(config.decoder_fit)]
        return fingerprint(own)


def _as_claimed(config: TrainConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model and plan under the names that run folders of config version 1 were claimed with.

    So a new name trains nothing anew. `worldsim.models.migrate` reads their models alike.
    """
    model, plan = asdict(config.model), asdict(config.plan)
    model["autoencoder"] = model.pop("tokenizer")
    for (part, name), before in UNSAID.items():
        holder = model if part in model else plan
        if holder[part][name] == before:
            del holder[part][name]
    if not model["derotate"]:
        del model["derotate"]
    for holder in (model, plan):
        if holder["memory"]["name"] == "none":  # which there was not
            del holder["memory"]
    for part, only in (("dynamics", "contact"), ("autoencoder", "autoencoder")):
        if model[part]["name"] == only:  # the one kind there was
            del model[part]["name"]
    if model["conditioners"] == CLAIMED_CONDITIONERS and model["condition_on_state"]:
        del model["conditioners"], model["condition_on_state"]
        model["bodies"] = True
    plan["window"] = plan.pop("loss_mask")
    plan["rollout"]["descent"] = CLAIMED_SOLVERS[plan["rollout"].pop("solver")]
    # What a model was trained for is the plan's and the data's.
    return {k: v for k, v in model.items() if k not in LEARNT}, plan


class Stage(ABC):
    """One stage of a run. Calling it makes what is missing.

    A subclass says how something is made and saved; claim and record are the same for all.

    Args:
        run: the run that it belongs to.
    """

    name: ClassVar[StageName]
    needs: ClassVar[tuple[StageName, ...]] = ()
    """Stages that have to be finished before."""

    def __init__(self, run: TrainingRun) -> None:
        self.run, self.config = run, run.config
        self.cache, self.folder = run.cache, run.folder
        self.seed = mix(run.config.seed, self.name)

    def __call__(self) -> bool:
        """Do the stage; False if it was finished before.

        Raises:
            UsageError: an earlier stage is missing, or the folder belongs to another config.
        """
        self.require()
        key = self.run.key(self.name)
        if self.folder.is_finished(self.name, key, self.config.overwrite):
            return False
        self.folder.finish(self.name, key, **self.make())
        return True

    def require(self) -> None:
        """Refuse to begin before the stages that this one builds on.

        Raises:
            UsageError: one of them is not finished.
        """
        self.folder.require(self.needs, self.name)

    @abstractmethod
    def make(self) -> dict[str, Any]:
        """Make and save what the stage is for.

        Returns:
            Facts to be recorded beside its name.
        """

    def fit(
        self,
        network: nn.Module,
        loss: StageLoss,
        batches: StepBatches,
        config: FitConfig,
        callbacks: Callable[[EmaCallback], Sequence[Callback]] = lambda ema: (),
    ) -> Fitted:
        """Train `network` under this stage's name and seed; see `worldsim.training.loop`."""
        run, folder = self.config.run, self.folder
        return fit(self.name, network, loss, batches, config, run, folder, self.seed, callbacks)
