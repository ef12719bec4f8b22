"""How many product files one warm training step enters, traced through Lightning's loop."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from trace_testing import traced
from worldsim_testing import nano_model

from worldsim.config.compose import build, compose_config
from worldsim.data.cache import CachedDataset
from worldsim.data.clips import ClipDataset
from worldsim.training.batches import Batch, StepBatches
from worldsim.training.config import FitConfig, RunConfig
from worldsim.training.loop import fit
from worldsim.training.loss import PlanConfig, WorldModelLoss
from worldsim.training.run_folder import RunFolder

WARM = 3
SHORT = ["plan.length=6", "plan.rollout.frames=2", "plan.rollout.frames_end=4"]
SHORT += ["plan.rollout.history=2", "plan.loss_mask.frames=2"]


class TraceStep(Callback):
    """Traces from the start of the warm step to the start of the next one, its batch included."""

    def __init__(self, found: Counter[str]) -> None:
        self._tracing = traced(found)

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int
    ) -> None:
        """Begin or end."""
        if index == WARM:
            self._tracing.__enter__()
        elif index == WARM + 1:
            self._tracing.__exit__(None, None, None)


def traced_step(
    data: CachedDataset, plan_name: str, plan_words: Sequence[str], folder: Path
) -> list[str]:
    """Product files that the warm step of a nano model enters."""
    words = ["dataset=x", "out=x", f"plan={plan_name}", *SHORT, *plan_words]
    plan = build(PlanConfig, compose_config("train", words).plan, "plan")
    model = nano_model(spec=data.spec)
    clips = ClipDataset(data, plan.length)

    def gather(chosen: Tensor, generator: torch.Generator) -> Batch:
        batch = clips.batch(chosen)
        batch["latents"] = model.encode(batch.pop("pixels"))
        return batch

    with torch.no_grad():
        kept = [gather(torch.tensor([i, i + 1]), torch.Generator()) for i in range(2)]
    model.denoiser.requires_grad_(True)
    batches = StepBatches(lambda chosen, _: kept[int(chosen[0]) % 2], len(clips), 2, seed=0)
    found: Counter[str] = Counter()
    fit(
        "world",
        model,
        WorldModelLoss(model, plan, 1.0),
        batches,
        FitConfig(max_steps=WARM + 3, batch_size=2),
        RunConfig(precision="32-true", progress=True, log_every=1),
        RunFolder(folder),
        0,
        lambda ema: [TraceStep(found)],
    )
    return sorted(found)


@pytest.mark.parametrize(
    ("plan_name", "plan_words", "most"),
    [
        ("diffusion_forcing", (), 21),
        ("self_rollout", ("plan.rollout.start=0", "plan.rollout.share=1"), 24),
    ],
)
def test_a_warm_step_enters_few_files(
    plan_name: str, plan_words: Sequence[str], most: int, square_data: CachedDataset, tmp_path: Path
) -> None:
    """15 is the aim, and training has seven of them: loop, progress, batches, loss, three parts.

    The others are networks (7), the conditions of a clip and their geometry (6), the memory of a
    clip (3), noise and, in rollouts, the sampler with its schedule and rows (4).
    """
    files = traced_step(square_data, plan_name, plan_words, tmp_path)
    print(plan_name, len(files), *files, sep="\n")
    assert any(path.startswith("models/denoisers/") for path in files)
    assert len(files) <= most
    assert sum(path.startswith("worldsim/training/") for path in files) <= 7
