"""Losses of the world stage on a nano model and the square world."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from worldsim.data.cache import CachedDataset
from worldsim.data.clips import ClipDataset
from worldsim.diffusion.schedule import Schedule, autoregressive, rolling
from worldsim.errors import UsageError
from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.denoisers.conditioning import TENSORS, Conditioning
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.tabletop.contact_dynamics import ContactDynamics
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.sampling.stream import Stream
from worldsim.sampling.stream_rows import next_conditions
from worldsim.training.batches import Batch
from worldsim.training.loss import PlanConfig, WorldModelLoss
from worldsim.training.losses.clip import (
    Clip,
    DropoutConfig,
    prepare_clip,
    shows_calibration,
)
from worldsim.training.losses.objective import ObjectiveConfig, background_of
from worldsim.training.losses.self_rollout import RolloutConfig, faded, self_rollout

CONFIG = WorldModelConfig(
    TokenizerConfig(channels=4, width=8, depth=1),
    DenoiserConfig("stnet", width=32, depth=1, cond_width=32, head_dim=32),
    HeadConfig(width=8, keypoints=8),
    DynamicsConfig(width=16, depth=1),
    recent=4,
)
NO_DROPOUT = DropoutConfig(action=0.0, view=0.0, rig=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def model(square_data: CachedDataset) -> WorldModel:
    torch.manual_seed(0)
    model = WorldModel(CONFIG, square_data.spec)
    for name, figures in square_data.statistics().items():
        if name != "action":
            mean, std = torch.from_numpy(figures.mean), torch.from_numpy(figures.std)
            model.normalizer.fit(name, mean.float(), std.float())
    return model


@pytest.fixture(scope="module")
def batch(square_data: CachedDataset, model: WorldModel) -> Batch:
    """Six clips of six frames with latents of the untrained tokenizer."""
    clips = ClipDataset(square_data, 6).batch([0, 9, 20, 33, 50, 70])
    with torch.no_grad():
        latents = model.encode(clips["pixels"])
    model.normalizer.fit("latent", latents.mean((0, 1, 2, 4, 5)), latents.std((0, 1, 2, 4, 5)))
    return {**clips, "latents": latents, "micro_step": 0}


def clip_of(model: WorldModel, batch: Batch, dropout: DropoutConfig = NO_DROPOUT) -> Clip:
    return prepare_clip(model, batch, dropout, generator())


@pytest.mark.parametrize("start", [1.0, 0.0])
def test_both_phases_learn(model: WorldModel, batch: Batch, start: float) -> None:
    model = copy.deepcopy(model)
    plan = PlanConfig(
        dropout=NO_DROPOUT, rollout=RolloutConfig(start=start, frames=3, frames_end=3)
    )
    loss = WorldModelLoss(model, plan, 2.0)
    optimizer = torch.optim.Adam([*model.denoiser.parameters(), *model.head.parameters()], 3e-3)
    key, curve = ("rollout" if start == 0.0 else "denoise"), []
    for step in range(40):
        optimizer.zero_grad()
        value = loss(batch, 0.5, generator(step))
        value.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        curve.append({name: float(v) for name, v in value.logs.items()})
    for name in (key, "read_agent_pos", "read_state"):
        first, last = (sum(row[name] for row in part) for part in (curve[:8], curve[-8:]))
        assert last < 0.75 * first, name


def test_loss_is_a_function_of_weights_batch_and_seed(model: WorldModel, batch: Batch) -> None:
    loss = WorldModelLoss(model, PlanConfig(), 2.0)
    first, again, other = (float(loss(batch, 0.0, generator(s)).total.detach()) for s in (1, 1, 2))
    assert first == again != other


def test_frames_padded_beyond_an_episode_do_not_count(model: WorldModel, batch: Batch) -> None:
    present = torch.ones_like(batch["frame_mask"], dtype=torch.bool)
    present[:, 4:] = False
    latents = batch["latents"].clone()
    latents[:, 5:] += 50.0
    plan = PlanConfig(dropout=NO_DROPOUT, objective=ObjectiveConfig(motion=0.0))
    loss = WorldModelLoss(model, plan, 1.0)
    clean, padded = (
        float(loss({**batch, "latents": x, "frame_mask": present}, 0.0, generator()).total.detach())
        for x in (batch["latents"], latents)
    )
    assert clean == pytest.approx(padded, rel=1e-5)


def test_dropped_views_are_blank_and_weigh_nothing(model: WorldModel, batch: Batch) -> None:
    clip = clip_of(model, batch, DropoutConfig(action=0.0, view=1.0))
    assert (clip.view_mask.sum(2) == 1).all(), "one view always stays"
    assert float(clip.x0[clip.view_mask == 0].abs().sum()) == 0.0
    other = {**batch, "latents": batch["latents"].clone()}
    other["latents"][clip.view_mask == 0] += 10.0
    plan = PlanConfig(dropout=DropoutConfig(action=0.0, view=1.0))
    loss = WorldModelLoss(model, plan, 1.0)
    values = [float(loss(b, 0.0, generator()).total.detach()) for b in (batch, other)]
    assert values[0] == values[1]


def test_action_dropout_hides_tokens_and_maps(model: WorldModel, batch: Batch) -> None:
    kept, hidden = (clip_of(model, batch, DropoutConfig(a, 0.0)).cond for a in (0.0, 1.0))
    assert kept.action_mask[:, 1:].min() == 1 and float(kept.maps.abs().sum()) > 0
    assert hidden.action_mask.max() == 0 and float(hidden.maps.abs().sum()) == 0


def test_hidden_calibration_is_that_of_a_start_which_has_none(
    model: WorldModel, batch: Batch
) -> None:
    def cond(chance: float, given: Batch) -> Conditioning:
        return clip_of(model, given, DropoutConfig(0.0, 0.0, chance)).cond

    names = ("intrinsics", "extrinsics", "mounted", "rig_known")
    none = {name: value for name, value in batch.items() if name not in names}
    kept, hidden, unknown = cond(0.0, batch), cond(1.0, batch), cond(0.0, none)
    for field in TENSORS:
        assert torch.equal(getattr(hidden, field), getattr(unknown, field)), field
        assert torch.equal(getattr(kept, field), getattr(hidden, field)) == (field != "maps"), field
    begun = Stream(model, autoregressive((1.0, 0.0)), precision="float32")
    begun.reset(batch["pixels"][:, 0], batch["agent_pos"][:, 0], state=batch["state"][:, 0])
    begun.push(batch["action"][:, :1])
    told = next_conditions(model, begun._running)
    assert float(told.maps.abs().sum()) == float(hidden.maps.abs().sum()) == 0.0
    assert cond(1.0, none).maps.shape == kept.maps.shape


def test_calibration_is_hidden_now_and_then_and_repeatably(model: WorldModel, batch: Batch) -> None:
    def known(chance: float, seed: int) -> torch.Tensor:
        dropout = DropoutConfig(0.0, 0.0, chance)
        return prepare_clip(model, batch, dropout, generator(seed)).cond.maps.flatten(1).any(1)

    some = torch.stack([known(0.3, seed) for seed in range(40)])
    assert torch.equal(some, torch.stack([known(0.3, seed) for seed in range(40)]))
    assert 0.2 < float((~some).float().mean()) < 0.4
    for chance in (0.0, 0.3, 1.0):
        clip = clip_of(model, batch, DropoutConfig(0.5, 0.5, chance))
        untouched = clip_of(model, batch, DropoutConfig(0.5, 0.5, 0.0))
        assert torch.equal(clip.cond.action_mask, untouched.cond.action_mask)
        assert torch.equal(clip.view_mask, untouched.view_mask)
        assert chance or torch.equal(clip.cond.maps, untouched.cond.maps)
    assert 0 < DropoutConfig().rig < 0.2
    with pytest.raises(UsageError, match="rig is 1.5"):
        DropoutConfig(rig=1.5)


def test_a_model_says_whether_it_saw_calibrated_cameras(model: WorldModel) -> None:
    known = np.array([[True, False], [True, True]])
    assert shows_calibration(known, DropoutConfig())
    assert not shows_calibration(known[:1], DropoutConfig())
    assert not shows_calibration(known, DropoutConfig(rig=1.0))
    fresh = copy.deepcopy(model)
    blind = WorldModel(replace(model.config, conditioners=("action",)), model.spec)
    assert not fresh.trained_with(calibration=False).config.calibrated
    assert not blind.trained_with(calibration=True).config.calibrated
    assert fresh.trained_with(calibration=True).config.calibrated
    assert fresh.trained_with(calibration=False).config.calibrated, "what was learnt stays"


def test_gradients_reach_every_trained_part_in_both_phases(model: WorldModel, batch: Batch) -> None:
    model = copy.deepcopy(model)
    model.tokenizer.requires_grad_(False)
    for start in (0.0, 1.0):
        model.zero_grad()
        plan = PlanConfig(rollout=RolloutConfig(start=start))
        value = WorldModelLoss(model, plan, 1.0)(batch, 0.9, generator())
        value.total.backward()  # type: ignore[no-untyped-call]
        assert any(
            p.grad is not None and p.grad.abs().max() > 0 for p in model.denoiser.parameters()
        )
        assert all(p.grad is not None for p in model.head.parameters())
        assert all(p.grad is None for p in model.tokenizer.parameters())


def shaken(model: WorldModel) -> WorldModel:
    """Zero-initialised layers given weights, so that every path counts."""
    model = copy.deepcopy(model).eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            if parameter.abs().max() == 0:
                parameter.normal_(std=0.05)
    return model


@pytest.mark.parametrize(
    "schedule",
    [
        autoregressive((1.0, 0.0)),
        autoregressive((1.0, 0.5, 0.0)),
        autoregressive((1.0, 0.4, 0.0), chunk=2),
        rolling((1.0, 0.5, 0.0)),
        rolling((1.0, 0.5, 0.0), bidirectional=True),
    ],
    ids=str,
)
def test_rollout_is_what_the_sampler_does(
    model: WorldModel,
    square_data: CachedDataset,
    monkeypatch: pytest.MonkeyPatch,
    schedule: Schedule,
) -> None:
    model = shaken(model)
    windows = ClipDataset(square_data, 6, episodes=[0, 1, 2])
    clips = windows.batch([i for i in range(len(windows)) if windows[i]["start"] == 0])
    with torch.no_grad():
        clips = {
            **clips,
            "latents": model.normalizer.denormalize("latent", model.encode(clips["pixels"])),
        }
    monkeypatch.setattr(RolloutConfig, "schedule", lambda *_: schedule)
    config = RolloutConfig(
        history=1, history_level=0.0, frames=4, frames_end=4, chunk=schedule.chunk
    )
    with torch.no_grad():
        rolled = self_rollout(model, clip_of(model, clips), config, 1.0, generator(5)).predicted

    draws = generator(5)
    torch.randint(1, 2, (), generator=draws)
    offset = int(torch.randint(schedule.steps, (), generator=draws))
    torch.rand(3, 1, generator=draws)
    torch.randn(3, 1, *rolled.shape[2:], generator=draws)
    recorded = iter(torch.cat([clips["agent_pos"], clips["state"]], -1).unbind(1)[1:])
    monkeypatch.setattr(ContactDynamics, "step", lambda *_: next(recorded))
    stream = Stream(model, schedule, precision="float32")
    stream._sampler.noise = lambda names, shape: torch.randn(len(names), *shape, generator=draws)
    rig = {name: clips[name] for name in ("intrinsics", "extrinsics", "mounted")}
    state = clips["state"][:, 0]
    stream.reset(clips["pixels"][:, 0], clips["agent_pos"][:, 0], rig, state=state)
    stream.push(clips["action"][:, :4])
    frames = torch.cat([chunk.latents for chunk in stream.drain()], 1)
    if schedule.slope == schedule.steps:
        assert torch.allclose(frames, rolled, atol=1e-4)
    else:
        # Estimates of tiles are those of the last rung for every S-th frame.
        last = [n for n in range(4) if n % schedule.steps == (offset + 1) % schedule.steps]
        other = [n for n in range(4) if n not in last]
        assert torch.allclose(frames[:, last], rolled[:, last], atol=1e-4)
        assert (frames[:, other] - rolled[:, other]).abs().max() > 1e-4


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("chunk", [1, 2])
def test_gradients_flow_through_every_imagined_frame(
    model: WorldModel, batch: Batch, share: float, chunk: int
) -> None:
    model = shaken(model).requires_grad_(True)
    config = RolloutConfig(frames=4, frames_end=4, rolling=share, most_steps=3, chunk=chunk)
    for seed in range(4):
        rolled = self_rollout(model, clip_of(model, batch), config, 1.0, generator(seed))
        assert rolled.predicted.shape[1] == 4
        for frame in range(4):
            model.zero_grad()
            value = rolled.predicted[:, frame].square().sum()
            value.backward(retain_graph=True)  # type: ignore[no-untyped-call]
            assert any(
                p.grad is not None and p.grad.abs().max() > 0 for p in model.denoiser.parameters()
            )


@pytest.mark.parametrize("through", [1, 2, 3])
def test_gradients_reach_back_through_so_many_frames_of_its_own(
    model: WorldModel, batch: Batch, through: int
) -> None:
    # One predecessor and no attention over time: only through the frame before goes a way back.
    config = replace(CONFIG, denoiser=DenoiserConfig("unet", width=32, depth=1, history=1))
    torch.manual_seed(0)
    alone = shaken(WorldModel(config, model.spec))
    clip = clip_of(alone, batch)
    action = clip.cond.action.clone().requires_grad_(True)
    clip = replace(clip, cond=replace(clip.cond, action=action))
    plan = RolloutConfig(frames=4, frames_end=4, history=1, most_steps=1, through=through)
    rolled = self_rollout(alone, clip, plan, 1.0, generator()).predicted
    for frame in range(4):
        (slope,) = torch.autograd.grad(rolled[:, frame].sum(), action, retain_graph=True)
        felt = [t for t in range(action.shape[1]) if slope[:, t].abs().max() > 0]
        assert felt == list(range(1 + frame - frame % through, 2 + frame))


def test_a_way_back_that_further_steps_would_cut_is_refused() -> None:
    with pytest.raises(UsageError, match="most_steps=1"):
        RolloutConfig(most_steps=2, through=4)
    assert RolloutConfig(most_steps=2).through == 1


def test_rollout_shortens_to_fit_the_clip(model: WorldModel, batch: Batch) -> None:
    config = RolloutConfig(start=0.0, frames=50, frames_end=50)
    rolled = self_rollout(model, clip_of(model, batch), config, 1.0, generator())
    assert rolled.first == 1 and rolled.predicted.shape[1] == 5
    short = replace(config, frames=2, frames_end=2, history=3)
    firsts = {
        self_rollout(model, clip_of(model, batch), short, 1.0, generator(s)).first for s in range(9)
    }
    assert firsts == {1, 2, 3}


def test_fading_moves_some_rows_towards_the_background_and_no_targets(
    world: tuple[WorldModel, Clip],
) -> None:
    _, clip = world
    rows = 64
    wide = replace(
        clip,
        x0=clip.x0[:1].repeat(rows, 1, 1, 1, 1, 1),
        view_mask=clip.view_mask[:1].repeat(rows, 1, 1),
        frame_mask=clip.frame_mask[:1].repeat(rows, 1),
    )
    present = torch.ones_like(wide.x0[:, :, :, :1, :1, :1])
    apart = background_of(wide.x0, present) - wide.x0
    moved = faded(wide, 0.5, generator()).x0 - wide.x0
    # Every row goes its own share of the way, the same at every place.
    share = (moved * apart).flatten(1).sum(1) / apart.square().flatten(1).sum(1)
    torch.testing.assert_close(moved, share[:, None, None, None, None, None] * apart)
    assert 0 <= share.min() and 0.4 < share.max() <= 0.5
    assert 0.3 < (share == 0).float().mean() < 0.7


def test_fading_reaches_what_a_rollout_is_given_and_not_what_it_should_show(
    world: tuple[WorldModel, Clip],
) -> None:
    model, clip = world
    plain, given = RolloutConfig(start=0.0), RolloutConfig(start=0.0, fade=0.9)
    before = clip.x0.clone()
    first = self_rollout(model, clip, plain, 1.0, generator()).predicted
    second = self_rollout(model, clip, given, 1.0, generator()).predicted
    assert first.shape == second.shape and not torch.equal(first, second)
    assert torch.equal(clip.x0, before)


def test_readings_are_taken_in_every_nth_batch(model: WorldModel, batch: Batch) -> None:
    plan = PlanConfig(dropout=NO_DROPOUT, objective=ObjectiveConfig(readings_every=3))
    loss = WorldModelLoss(model, plan, 1.0)
    read = [
        "read_success" in loss({**batch, "micro_step": step}, 0.0, generator()).logs
        for step in range(7)
    ]
    assert read == [True, False, False, True, False, False, True]
