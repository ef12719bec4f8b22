"""The loss of where steps lead among walls, off recorded frames and off a model's own."""

from typing import Any

import pytest
import torch
from toy_room import FORWARD
from toy_room_data import SPEC, write_room_data

from worldsim.data.cache import build_cache
from worldsim.data.clips import ClipDataset
from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.training.batches import Batch
from worldsim.training.loss import PlanConfig, WorldModelLoss
from worldsim.training.losses.clip import Clip, DropoutConfig, prepare_clip
from worldsim.training.losses.dynamics import blunt_distance, stride_loss
from worldsim.training.losses.objective import ObjectiveConfig
from worldsim.training.losses.self_rollout import RolloutConfig

NO_DROPOUT = DropoutConfig(action=0.0, view=0.0, rig=0.0)


def model_of() -> WorldModel:
    torch.manual_seed(0)
    config = WorldModelConfig(
        TokenizerConfig(channels=4, width=8, depth=1, name="autoencoder_quarter"),
        DenoiserConfig("unet", 16, 1, 16, 16, render_reference=False),
        HeadConfig(width=8, keypoints=8, stride=True),
        DynamicsConfig("pose", width=16, depth=1),
        conditioners=("parallax",),
        condition_on_state=False,
        derotate=True,
    )
    model = WorldModel(config, SPEC)
    model.dynamics.step_size.fill_(FORWARD)
    with torch.no_grad():  # what the head says depends on what it sees
        assert model.stride_head is not None
        for part in model.stride_head.parameters():
            if part.abs().max() == 0:
                part.normal_(std=0.1)
    return model


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    data = build_cache(write_room_data(tmp_path_factory.mktemp("room") / "data", 4, 8))
    clips, model = ClipDataset(data, 6), model_of()
    held = clips.batch(list(range(len(clips))))
    with torch.no_grad():
        latents = model.encode(held["pixels"], held["agent_pos"])
    return {**held, "latents": latents, "micro_step": 0}


def clip_of(model: WorldModel, batch: Batch) -> Clip:
    return prepare_clip(model, batch, NO_DROPOUT, torch.Generator().manual_seed(0))


def loss_of(model: WorldModel, clip: Clip, *own: Any) -> torch.Tensor:
    return stride_loss(model, clip, torch.Generator().manual_seed(1), *own)


def test_of_steps_that_some_walls_stop_the_likelier_has_the_least_loss() -> None:
    """A mean, which squares would have, is a step that nobody makes."""
    steps = torch.tensor([1.0] * 7 + [0.0] * 3)
    told = torch.linspace(0, 1, 101)
    gap = torch.stack([told[:, None] - steps, torch.zeros(101, 10)], dim=-1)
    least = told[blunt_distance(gap).mean(1).argmin()]
    assert float(least) > 0.95
    assert float(blunt_distance(torch.zeros(1, 2))) == 0.0
    assert float(blunt_distance(torch.tensor([[3.0, 4.0]]))) == pytest.approx(5.0, abs=0.06)


def test_off_frames_as_they_were_recorded_the_loss_is_the_recordings(
    batch: Batch,
) -> None:
    model = model_of()
    clip = clip_of(model, batch)
    assert float(loss_of(model, clip, clip.x0, 0)) == pytest.approx(float(loss_of(model, clip)))
    # A span alone is what is left of the clip without the frames before it.
    assert float(loss_of(model, clip, clip.x0[:, 3:], 3)) != float(loss_of(model, clip))
    own = clip.x0[:, 3:].clone().requires_grad_(True)
    loss_of(model, clip, own, 3).backward()  # type: ignore[no-untyped-call]
    assert own.grad is None, "frames are not bent to the head"
    head = model.stride_head
    assert head is not None and any(p.grad is not None and p.grad.any() for p in head.parameters())
    assert float(loss_of(model, clip, clip.x0[:, -1:], clip.shape[1] - 1)) == 0.0


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_rollouts_teach_strides_off_what_they_made(batch: Batch, weight: float) -> None:
    rollout = RolloutConfig(start=0.0, share=1.0, frames=3, frames_end=3, most_steps=1)
    config = PlanConfig(
        length=6, rollout=rollout, dropout=NO_DROPOUT, objective=ObjectiveConfig(stride=weight)
    )
    loss = WorldModelLoss(model_of(), config, 1.0)
    told = loss(batch, 1.0, torch.Generator().manual_seed(0))
    assert ("rollout_stride" in told.logs) == (weight > 0)
    assert torch.isfinite(told.total)
