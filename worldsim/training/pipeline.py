"""The stages of training, one after the other, each skipped if it is finished.

Evaluation lies above training in the import order, so validation and the judge are handed in.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from worldsim.data.cache import CachedDataset
from worldsim.data.clips import ClipDataset
from worldsim.data.split import episodes_of
from worldsim.errors import DataError, UsageError
from worldsim.hardware import training_device
from worldsim.models.tokenizers.autoencoder import Autoencoder
from worldsim.models.weights import WEIGHTS, load_weights, save_weights
from worldsim.models.world_model import WorldModel
from worldsim.training.batches import Batch, StepBatches
from worldsim.training.config import StageName
from worldsim.training.decoder import DecoderLoss, decoder_batch, imagine_bank
from worldsim.training.draws import mix
from worldsim.training.dynamics import DynamicsLoss, StateTable, open_loop_gaps
from worldsim.training.fit import Fitted, fit
from worldsim.training.inheritance import LEARNT
from worldsim.training.latents import encode_cache, latent_statistics, open_latents
from worldsim.training.layout import RunFolder, fingerprint
from worldsim.training.model_card import model_card
from worldsim.training.parents import Parents
from worldsim.training.plan.clip import hide_rigs, shows_calibration
from worldsim.training.plan.matching import critic_of
from worldsim.training.plan.objective import success_balance
from worldsim.training.plan.plan import TrainingPlan
from worldsim.training.precision import choose_precision
from worldsim.training.tokenizer import (
    REFERENCES,
    TokenizerLoss,
    gather_frames,
)
from worldsim.training.tokenizer_folder import load_tokenizer, save_tokenizer
from worldsim.training.train_config import TrainConfig
from worldsim.training.validation import Measure, Validate, Validation

REPORTED_HORIZONS = (1, 10, 20, 30)
"""Steps after which the error of the dynamics is noted."""


class Pipeline:
    """Runs stages on one decoded data set.

    Args:
        config: the run.
        cache: the data.
        folder: where everything goes.
    """

    def __init__(self, config: TrainConfig, cache: CachedDataset, folder: RunFolder) -> None:
        self.config, self.cache, self.folder = config, cache, folder
        self.parents = Parents(config, cache.spec)
        self.training = episodes_of(cache.folds, "train")
        self.held_out = episodes_of(cache.folds, "val")
        if config.run.threads:
            torch.set_num_threads(config.run.threads)

    def check(self, stages: Sequence[StageName]) -> None:
        """Refuse stages of the folder that were begun under another config, before any begins.

        Raises:
            UsageError: see above.
        """
        for stage in stages:
            if stage != "judge":  # which depends on the model that will be there
                self.folder.check_claim(stage, self._hash(stage), self.config.overwrite)

    def tokenizer(self) -> bool:
        """Train the tokenizer; False if it was there already."""
        key = self._hash("tokenizer")
        if self.folder.is_finished("tokenizer", key, self.config.overwrite):
            return False
        taken = self.parents.tokenizer()
        if taken is not None:
            save_tokenizer(taken, self.folder.tokenizer)
            self.folder.finish("tokenizer", key, taken=True)
            return True
        torch.manual_seed(mix(self.config.seed, "tokenizer"))
        network = Autoencoder(self.config.model.autoencoder)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        fitted = fit(
            "tokenizer",
            network,
            TokenizerLoss(network, self.config.tokenizer),
            self._frame_batches(),
            self.config.tokenizer_fit,
            self.config.run,
            self.folder,
            mix(self.config.seed, "tokenizer"),
        )
        save_tokenizer(network, self.folder.tokenizer)
        self.folder.finish("tokenizer", key, **_facts(fitted))
        return True

    def latents(self) -> bool:
        """Encode the data set; False if that was done already."""
        self.folder.require(["tokenizer"], "latents")
        key, run = self._hash("latents"), self.config.run
        if self.folder.is_finished("latents", key, self.config.overwrite):
            return False
        encode_cache(
            self.cache,
            load_tokenizer(self.folder.tokenizer),
            self.folder.latents,
            bf16=choose_precision(run.precision, run.accelerator) == "bf16-mixed",
            device=training_device(run.accelerator),
            progress=run.progress,
        )
        self.folder.finish("latents", key)
        return True

    def dynamics(self) -> bool:
        """Fit the dynamics; False if that was done already."""
        key, config = self._hash("dynamics"), self.config
        if self.folder.is_finished("dynamics", key, config.overwrite):
            return False
        dynamics = self.parents.dynamics()
        # What is distilled is how things look, not where they go.
        if config.plan.has_teacher or config.dynamics.keep:
            save_weights(dynamics, self.folder.dynamics / WEIGHTS)
            self.folder.finish("dynamics", key, taken=True)
            return True
        table = StateTable(dynamics, self.cache, self.training)
        if not dynamics.dim or not len(table.starts):  # nothing to learn: the state stays
            save_weights(dynamics, self.folder.dynamics / WEIGHTS)
            self.folder.finish("dynamics", key, steps=0)
            return True
        if config.start_from is None:
            table.fit_scales(dynamics)
        else:
            table.widen_box(dynamics)
        if not dynamics.learns:
            save_weights(dynamics, self.folder.dynamics / WEIGHTS)
            self.folder.finish("dynamics", key, steps=0)
            return True
        horizon, seed = config.dynamics.horizon, mix(config.seed, "dynamics")
        fitted = fit(
            "dynamics",
            dynamics,
            DynamicsLoss(dynamics, config.dynamics),
            StepBatches(
                lambda chosen, _: table.window(table.starts[chosen], horizon),
                len(table.starts),
                config.dynamics_fit.batch_size,
                seed,
            ),
            config.dynamics_fit,
            config.run,
            self.folder,
            seed,
        )
        save_weights(dynamics, self.folder.dynamics / WEIGHTS)
        gaps = open_loop_gaps(dynamics, self.cache, self.held_out, REPORTED_HORIZONS)
        self.folder.finish("dynamics", key, **_facts(fitted), held_out_median_m=gaps)
        return True

    def world(self, validate: Validate, measure: Measure | None = None) -> bool:
        """Train denoiser and heads; False if that was done already.

        Args:
            validate: measures the averaged model now and then, and at the end.
            measure: what the finished model is told of its quality by number of steps.
        """
        self.folder.require(["tokenizer", "latents", "dynamics"], "world")
        key, config = self._hash("world"), self.config.world_fit
        if self.folder.is_finished("world", key, self.config.overwrite):
            return False
        self.folder.forget("decoder")
        latents = open_latents(self.folder.latents, self.cache)
        clips = ClipDataset(
            self.cache, self.config.plan.length, latents=latents, episodes=self.training
        )
        known = np.asarray(self.cache.rigs.known)[self.training]
        calibration = shows_calibration(known, self.config.plan.dropout)
        model = self.new_model().trained_with(calibration=calibration)
        rows = self._rows(self.training)
        self._fit_normalizer(model, latents, rows)
        teacher, plan = self.parents.teacher(), self.config.plan
        critic = critic_of(teacher) if teacher is not None and plan.matching.share > 0 else None
        balance = success_balance(torch.from_numpy(self.cache.success[rows.numpy()]))
        batches = StepBatches(
            lambda chosen, _: _with_known_rigs(clips.batch(chosen)),
            len(clips),
            config.batch_size,
            self.config.seed,
        )
        fitted = fit(
            "world",
            model if critic is None else nn.ModuleDict({"model": model, "critic": critic}),
            TrainingPlan(model, plan, balance, teacher, critic, config.accumulate),
            batches,
            config,
            self.config.run,
            self.folder,
            mix(self.config.seed, "world"),
            lambda ema: [Validation(model, ema, validate, self.config.validate_every, config)],
        )
        model.quality = None  # of the model it started from
        model.quality = None if measure is None else measure(model.cpu().eval())
        model.save_pretrained(self.folder.model, card=model_card(model, fitted, self.cache))
        self.folder.finish("world", key, **_facts(fitted))
        return True

    def decoder(self, validate: Validate, measure: Measure | None = None) -> bool:
        """Teach the finished model's decoder to show what is imagined; False if that was done.

        Args:
            validate: measures the model afterwards.
            measure: as in `world`.

        Raises:
            UsageError: there is no finished world model of this config yet.
        """
        key, config = self._hash("decoder"), self.config
        if not self.folder.holds("world", self._hash("world")):
            raise UsageError(
                f"{self.folder.root} holds no finished world model of this config; run stage=world"
            )
        if self.folder.is_finished("decoder", key, config.overwrite):
            return False
        model = self._with_first_decoder()
        facts: dict[str, Any] = {"steps": 0}
        if config.decoder.streams:
            fitted = self._fit_decoder(model)
            facts = _facts(fitted)
            model.quality = None
            validate(model, int(self.folder.record("world")["steps"]))
            model.quality = None if measure is None else measure(model)
        card = (self.folder.model / "README.md").read_text(encoding="utf-8")
        model.save_pretrained(self.folder.model, card=card)
        self.folder.finish("decoder", key, **facts)
        return True

    def _with_first_decoder(self) -> WorldModel:
        """The finished world model with the decoder that came with its tokenizer, so that an
        interrupted stage begins where it began."""
        model = WorldModel.from_pretrained(self.folder.model)
        load_weights(model.tokenizer, self.folder.tokenizer / WEIGHTS)
        return model

    def _fit_decoder(self, model: WorldModel) -> Fitted:
        """Train the decoder of `model`, in place, on frames that it imagines."""
        config, seed = self.config, mix(self.config.seed, "decoder")
        bank = imagine_bank(
            model.to(training_device(config.run.accelerator)),
            self.cache,
            self.training,
            config.decoder,
            torch.Generator().manual_seed(seed),
            show=config.run.progress,
        )
        model.tokenizer.decoder.requires_grad_(True)
        rows, share = self._rows(self.training), config.decoder.encoded
        fitted = fit(
            "decoder",
            model.cpu(),
            DecoderLoss(model, config.decoder),
            StepBatches(
                lambda chosen, draws: decoder_batch(
                    bank, self.cache.pixels, rows, share, chosen, draws
                ),
                len(bank.rows),
                config.decoder_fit.batch_size,
                seed,
            ),
            config.decoder_fit,
            config.run,
            self.folder,
            seed,
        )
        model.requires_grad_(False).eval()
        return fitted

    def new_model(self) -> WorldModel:
        """A world model with this run's tokenizer and dynamics in it, frozen."""
        model = self.parents.world()
        load_weights(model.tokenizer, self.folder.tokenizer / WEIGHTS)
        load_weights(model.dynamics, self.folder.dynamics / WEIGHTS)
        model.tokenizer.requires_grad_(False)
        model.dynamics.requires_grad_(False)
        return model

    def _fit_normalizer(self, model: WorldModel, latents: Any, rows: torch.Tensor) -> None:
        if self.config.start_from is not None:
            return
        known = ("latent", "agent_pos") if self.config.transfer_from is not None else ()
        if "latent" not in known:
            model.normalizer.fit("latent", *latent_statistics(latents, rows))
        for name, figures in self.cache.statistics(self.training).items():
            if name in ("agent_pos", "state") and name not in known:
                mean, std = torch.from_numpy(figures.mean), torch.from_numpy(figures.std)
                model.normalizer.fit(name, mean.float(), std.float())

    def _frame_batches(self) -> StepBatches:
        rows = self._rows(self.training)
        pixels = self.cache.pixels

        def gather(chosen: torch.Tensor, generator: torch.Generator) -> Batch:
            others = torch.randint(len(rows), (len(chosen), REFERENCES), generator=generator)
            return gather_frames(pixels, rows[chosen], rows[others])

        return StepBatches(
            gather, len(rows), self.config.tokenizer_fit.batch_size, self.config.seed
        )

    def _rows(self, episodes: list[int]) -> torch.Tensor:
        if not episodes:
            raise DataError(f"{self.cache.root} holds too few episodes to train on; collect more")
        spans = [self.cache.rows(episode) for episode in episodes]
        return torch.cat([torch.arange(span.start, span.stop) for span in spans])

    def _hash(self, stage: StageName) -> str:
        """Fingerprint of everything that decides what a stage makes."""
        config = self.config
        own: dict[str, Any] = {"seed": config.seed, "data": self.cache.fingerprint}
        for parent in ("start_from", "transfer_from"):
            own[parent] = str(getattr(config, parent))
        if stage in ("dynamics", "world", "decoder"):
            own["dynamics"] = [asdict(config.dynamics), asdict(config.dynamics_fit)]
            own["body"] = asdict(config.model.dynamics)
            own["taught"] = config.plan.has_teacher
            if config.dynamics.keep:
                own["donor"] = str(config.reuse)
        if stage == "dynamics":
            return fingerprint(own)
        own["autoencoder"] = asdict(config.model.autoencoder)
        if config.reuse is None:
            own["tokenizer"] = [asdict(config.tokenizer), asdict(config.tokenizer_fit)]
        else:
            own["reuse"] = str(config.reuse)
        if stage in ("world", "decoder"):
            # What a model was trained for is the plan's and the data's.
            own["model"] = {k: v for k, v in asdict(config.model).items() if k not in LEARNT}
            own["plan"], own["fit"] = asdict(config.plan), asdict(config.world_fit)
        if stage == "decoder":
            own["decoder"] = [asdict(config.decoder), asdict(config.decoder_fit)]
        return fingerprint(own)


def _with_known_rigs(batch: Batch) -> Batch:
    """Unknown cameras have placeholders in a data set's cache."""
    return hide_rigs(batch, batch["rig_known"])


def _facts(fitted: Fitted) -> dict[str, Any]:
    return {"steps": fitted.steps, "seconds": round(fitted.seconds, 3), "losses": fitted.logs}
