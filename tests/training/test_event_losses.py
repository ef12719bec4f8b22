"""Events in the loss of the world stage, and in validation, on the toy room of panoramas."""

import copy
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from event_testing import decided, head_of, last_of
from toy_room_data import SPEC, write_room_data

from worldsim.config.compose import compose_config
from worldsim.data.cache import CachedDataset, build_cache
from worldsim.data.clips import ClipDataset
from worldsim.errors import UsageError
from worldsim.memory.base import MemoryConfig
from worldsim.models.blocks import balanced_loss
from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.training.batches import Batch
from worldsim.training.loss import PlanConfig, WorldModelLoss
from worldsim.training.losses.clip import Clip, DropoutConfig, prepare_clip
from worldsim.training.losses.events import event_losses
from worldsim.training.losses.objective import ObjectiveConfig
from worldsim.training.losses.self_rollout import RolloutConfig
from worldsim.training.stages.world import has_event_labels, model_card
from worldsim.training.train_config import train_config
from worldsim.validation.open_loop_report import evaluate_open_loop

NO_DROPOUT = DropoutConfig(action=0.0, view=0.0, rig=0.0)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> CachedDataset:
    root = tmp_path_factory.mktemp("room") / "data"
    return build_cache(write_room_data(root, episodes=16, steps=8))


def fresh() -> WorldModel:
    torch.manual_seed(0)
    config = WorldModelConfig(
        TokenizerConfig(channels=4, width=8, depth=1, name="autoencoder_quarter"),
        DenoiserConfig("unet", 16, 1, 16, 16, render_reference=False),
        HeadConfig(width=8, keypoints=8, events=True),
        DynamicsConfig("pose", width=16, depth=1),
        MemoryConfig("none"),
        conditioners=("parallax",),
        condition_on_state=False,
        derotate=True,
    )
    return WorldModel(config, SPEC)


@pytest.fixture(scope="module")
def batch(room: CachedDataset) -> Batch:
    """Every clip of the room, with latents of the untrained tokenizer."""
    clips, model = ClipDataset(room, 6), fresh()
    held = clips.batch(list(range(0, len(clips), 3)))
    with torch.no_grad():
        latents = model.encode(held["pixels"], held["agent_pos"])
    return {**held, "latents": latents, "micro_step": 0}


def clip_of(model: WorldModel, batch: Batch) -> Clip:
    return prepare_clip(model, batch, NO_DROPOUT, torch.Generator().manual_seed(0))


def lost(logit: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    return balanced_loss(logit.flatten(0, 1), told.flatten(0, 1))


@pytest.mark.parametrize(("first", "count"), [(0, 6), (0, 1), (2, 1), (2, 4)])
def test_a_head_that_is_always_right_loses_nothing(batch: Batch, first: int, count: int) -> None:
    clip = clip_of(fresh(), batch)
    told = clip.targets["events"]
    asked: list[torch.Tensor] = []

    class Right:
        def along(self, latents: torch.Tensor, steps: Any) -> torch.Tensor:
            assert latents.shape[1] == steps.mask.shape[1] + 1
            stop = 6 if not asked else first + count
            asked.append(latents)
            frames = told[:, stop - steps.mask.shape[1] : stop]
            torch.testing.assert_close(
                steps.after, clip.steps.after[:, stop - steps.mask.shape[1] : stop]
            )
            return 40 * (2 * frames - 1)

    span = slice(first, first + count)
    predicted = clip.x0[:, span] + 1.0
    losses = event_losses(cast(Any, Right()), clip, predicted, first, clip.frame_mask[:, span])
    assert all(float(loss) < 1e-6 for loss in losses)
    if first:  # what was given leads the first frame that the model makes
        torch.testing.assert_close(asked[1][:, 0], clip.x0[:, first - 1])
        torch.testing.assert_close(asked[1][:, 1], clip.x0[:, first] + 1.0)
    undecided = head_of(fresh()).requires_grad_(False)
    seen, made = event_losses(undecided, clip, predicted, first, clip.frame_mask[:, span])
    none = torch.zeros_like(told)
    torch.testing.assert_close(seen, lost(none[:, 1:], told[:, 1:]))
    there = slice(max(first, 1), first + count)
    expected = lost(none[:, there], told[:, there]) if len(asked) > 1 else torch.tensor(0.0)
    torch.testing.assert_close(made, expected)


def test_padding_and_frames_that_are_masked_do_not_count(batch: Batch) -> None:
    model = fresh()
    with torch.no_grad():
        last_of(model).weight.normal_()
    clip = clip_of(model, batch)
    frames = torch.ones(clip.shape)
    frames[:, 4:] = 0
    expected = event_losses(head_of(model), clip, clip.x0, 0, frames)[1]
    other = clip.x0.clone()
    other[:, 4:] += 9.0
    found = event_losses(head_of(model), clip, other, 0, frames)[1]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("start", [1.0, 0.0])
def test_it_is_learnt_beside_the_other_readings(batch: Batch, start: float) -> None:
    model, curve = fresh(), []
    plan = PlanConfig(
        dropout=NO_DROPOUT, rollout=RolloutConfig(start=start, frames=3, frames_end=3, most_steps=1)
    )
    loss = WorldModelLoss(model, plan, 2.0)
    name = "read_events_rollout" if start == 0.0 else "read_events_denoise"
    model.requires_grad_(False)
    head_of(model).requires_grad_(True)
    optimizer = torch.optim.Adam(head_of(model).parameters(), 1e-2)
    for step in range(15):
        optimizer.zero_grad()
        value = loss(batch, 0.5, torch.Generator().manual_seed(step))
        value.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        curve.append([float(value.logs["read_events"]), float(value.logs[name])])
    last = np.mean(curve[-5:], axis=0)
    assert last[0] < 0.5 * curve[0][0] and last[1] < 0.9 * curve[0][1], last


def test_readings_that_are_left_out_leave_events_out(batch: Batch) -> None:
    def logs(plan: PlanConfig, given: Batch) -> dict[str, Any]:
        made = WorldModelLoss(fresh(), plan, 1.0)(given, 0.0, torch.Generator().manual_seed(0))
        return dict(made.logs)

    every = PlanConfig(objective=ObjectiveConfig(readings_every=2))
    assert "read_events" in logs(every, batch)
    assert "read_events" not in logs(every, {**batch, "micro_step": 1})
    assert "read_events" not in logs(PlanConfig(objective=ObjectiveConfig(events=0.0)), batch)
    none = {name: value for name, value in batch.items() if name != "events"}
    assert "denoise" in logs(PlanConfig(objective=ObjectiveConfig(events=0.0)), none)
    with pytest.raises(UsageError, match=r"tell 0 events and the event head reads 2 \(stopped"):
        logs(PlanConfig(), none)


def test_a_model_says_that_it_learnt_events_and_is_not_taught_others(room: CachedDataset) -> None:
    model, objective = fresh(), ObjectiveConfig()
    assert has_event_labels(room, model, objective)
    assert not has_event_labels(room, model, ObjectiveConfig(events=0.0))
    other = cast(Any, SimpleNamespace(spec=SimpleNamespace(events=("opened",))))
    with pytest.raises(UsageError, match="tells the events opened, and the model reads stopped"):
        has_event_labels(other, model, objective)
    fitted = cast(Any, SimpleNamespace(logs={}, steps=1, seconds=1.0))
    assert "stopped, bumped" not in model_card(model, fitted, room)
    learnt = model.trained_with(calibration=False, event_labels=True)
    assert learnt.config.event_labels and "(stopped, bumped)" in model_card(learnt, fitted, room)


def test_validation_tells_f1_of_each_event(room: CachedDataset) -> None:
    model = decided(copy.deepcopy(fresh()), (True, False))
    told = np.asarray(room.extras["events"])
    walks = [e for e in range(room.num_episodes) if told[room.rows(e).start :][:9, 0].any()][:2]
    report = evaluate_open_loop(model, room, walks, 1)
    rows = [room.rows(walk).start + step for walk in walks for step in range(1, 9)]
    share = float(told[rows][:, 0].mean())
    assert 0 < share < 1
    assert report.summary()["event_f1_stopped"] == pytest.approx(2 * share / (1 + share))
    expected = 0.0 if told[rows][:, 1].any() else pytest.approx(float("nan"), nan_ok=True)
    assert report.summary()["event_f1_bumped"] == expected
    assert "event_f1_stopped" in report.to_json()["summary"]


def test_the_street_is_trained_with_an_event_head() -> None:
    config = compose_config("train", ["dataset=x", "out=x", "experiment=street_tiny"])
    assert train_config(config).model.head.events
    plain = train_config(compose_config("train", ["dataset=x", "out=x"]))
    assert not plain.model.head.events and plain.plan.objective.events > 0
