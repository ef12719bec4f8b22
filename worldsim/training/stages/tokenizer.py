"""Stage `tokenizer`: an autoencoder of single frames, trained or taken from another model."""

from typing import Any

import torch
from torch import Tensor

from worldsim.models.blocks import channels_last
from worldsim.models.padding import surround_convolutions
from worldsim.models.tokenizers.base import build_tokenizer
from worldsim.training.batches import Batch, StepBatches
from worldsim.training.losses.tokenizer import REFERENCES, TokenizerLoss, gather_frames
from worldsim.training.run_folder import save_tokenizer
from worldsim.training.stages.stage import Stage


class TokenizerStage(Stage):
    """Writes `tokenizer/`."""

    name = "tokenizer"

    def make(self) -> dict[str, Any]:
        """Take the tokenizer over from what the run builds on, or train one."""
        taken = self.run.parents.tokenizer()
        if taken is not None:
            save_tokenizer(taken, self.folder.tokenizer)
            return {"taken": True}
        torch.manual_seed(self.seed)
        network = build_tokenizer(self.config.model.tokenizer)
        weights = self.config.model.tokenizer.weights
        if weights is not None:
            network.take_weights(weights)
        if weights is not None or not network.learns:
            save_tokenizer(network, self.folder.tokenizer)
            return {"steps": 0}
        surround_convolutions(network, self.cache.spec.cameras)
        channels_last(network)
        loss = TokenizerLoss(network, self.config.tokenizer)
        fitted = self.fit(network, loss, self._batches(), self.config.tokenizer_fit)
        save_tokenizer(network, self.folder.tokenizer)
        return fitted.facts()

    def _batches(self) -> StepBatches:
        rows, pixels = self.run.rows, self.cache.pixels

        def gather(chosen: Tensor, generator: torch.Generator) -> Batch:
            others = torch.randint(len(rows), (len(chosen), REFERENCES), generator=generator)
            return gather_frames(pixels, rows[chosen], rows[others])

        size = self.config.tokenizer_fit.batch_size
        return StepBatches(gather, len(rows), size, self.config.seed)
