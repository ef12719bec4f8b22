"""The Lightning module shared by all stages: a network, a loss, an optimiser."""

from collections.abc import Callable

import lightning.pytorch as pl
import torch
from torch import nn

from worldsim.training.batches import Batch, StageLoss, mix, stream
from worldsim.training.config import FitConfig


class StageModule(pl.LightningModule):
    """Trains `network` by `loss`.

    Args:
        network: everything that is trained or saved with the checkpoint.
        loss: the stage's loss over `network`.
        config: optimiser settings.
        seed: of the run; noise of micro-step n depends on (seed, n).
        fraction: tells how far training is, in [0, 1].
    """

    def __init__(
        self,
        network: nn.Module,
        loss: StageLoss,
        config: FitConfig,
        seed: int,
        fraction: Callable[[], float],
    ) -> None:
        super().__init__()
        self.network = network
        self._loss = loss
        self._config = config
        self._seed = seed
        self._fraction = fraction

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, object]:
        """Loss of one micro-batch."""
        micro_step = int(batch["micro_step"])
        torch.manual_seed(mix(self._seed, "global", micro_step))
        generator = stream(self._seed, "noise", micro_step)
        loss = self._loss(batch, self._fraction(), generator)
        return {"loss": loss.total, "logs": {"loss": loss.total.detach(), **loss.logs}}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; the learning rate is set before every step by `Clock`."""
        config = self._config
        trained = [p for p in self.network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, foreach=True)
