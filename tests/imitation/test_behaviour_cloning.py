"""Behaviour network, its training ladder, checkpoints and the policy made of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from policy_fixtures import CAMERAS, SIZE, make_observation, make_recordings, make_spec

from worldsim.conventions import to_model_video
from worldsim.errors import DataError, SpecMismatchError, UsageError
from worldsim.files import read_json, write_json
from worldsim.imitation.behaviour_cloning import (
    BehaviourTraining,
    ChunkLoss,
    Lesson,
    train_behaviour,
)
from worldsim.imitation.recordings import (
    Augmentation,
    augment,
    chosen_rows,
    chunk_targets,
    episode_weights,
)
from worldsim.models.behaviour import BehaviourConfig, BehaviourNet
from worldsim.policies.base import FloatArray
from worldsim.policies.behaviour_cloning import BCPolicy, load_behaviour, save_behaviour
from worldsim.training.config import FitConfig, RunConfig

SPEC = make_spec()
SHAPE = BehaviourConfig(2, 4, 3, chunk=4, image_size=(SIZE, SIZE), width=16, keypoints=8, hidden=32)
RUN = RunConfig(threads=1, precision="32-true", progress=False)
NO_CHANGE = Augmentation(shift=0, gain=0.0, bias=0.0, blur=0.0)
SHORT = BehaviourTraining(
    fit=FitConfig(max_steps=6, batch_size=8, lr=3e-3),
    ladder=(2, 4, 6),
    chunk=4,
    n_action_steps=1,
    width=16,
    keypoints=8,
    hidden=32,
)


def make_network(seed: int = 0) -> BehaviourNet:
    torch.manual_seed(seed)
    return BehaviourNet(SHAPE).eval()


def save(folder: Path, **changes: Any) -> Path:
    save_behaviour(folder, make_network(), SPEC, n_action_steps=2)
    if changes:
        write_json(folder / "config.json", {**read_json(folder / "config.json"), **changes})
    return folder


def predict(network: BehaviourNet, pixels: np.ndarray, agent: FloatArray) -> FloatArray:
    with torch.inference_mode():
        result: FloatArray = network(to_model_video(pixels), torch.from_numpy(agent)).numpy()
    return result


def test_network_size_and_shape() -> None:
    full = BehaviourNet(BehaviourConfig(num_views=3, agent_dim=10, action_dim=5))
    assert sum(p.numel() for p in full.parameters()) < 250_000
    assert full(torch.zeros(2, 3, 3, 64, 64), torch.zeros(2, 10)).shape == (2, 8, 5)
    with pytest.raises(UsageError, match="expected"):
        full(torch.zeros(2, 2, 3, 64, 64), torch.zeros(2, 10))
    with pytest.raises(UsageError, match="multiples of 4"):
        BehaviourConfig(1, 1, 1, image_size=(30, 64))


def test_views_are_told_apart_and_proprioception_counts() -> None:
    network = make_network()
    with torch.no_grad():
        network.view_shift.normal_(std=3.0)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (1, 2, SIZE, SIZE, 3), np.uint8)
    agent = rng.normal(size=(1, 4)).astype(np.float32)
    base = predict(network, pixels, agent)
    assert np.abs(predict(network, pixels[:, ::-1].copy(), agent) - base).max() > 1e-5
    assert np.abs(predict(network, pixels, agent + 1) - base).max() > 1e-5


def test_constant_proprioception_does_not_blow_up() -> None:
    network = make_network()
    network.set_normaliser(torch.zeros(4), torch.zeros(4))
    assert torch.equal(network.agent_std, torch.ones(4))


def test_chunks_end_with_their_episode() -> None:
    recordings = make_recordings(episodes=3, length=5)
    rows, episode = chosen_rows(recordings.episode_start, np.array([1, 0, 2], np.float32))
    ahead, valid = chunk_targets(recordings, rows, episode, chunk=4)
    assert set(episode) == {0, 2} and len(rows) == 12
    # Row 3 of an episode of 5 actions has two left: its own and the last.
    np.testing.assert_array_equal(valid[3], [True, True, False, False])
    assert not valid[5].any()
    assert (ahead < recordings.episode_start[episode + 1][:, None]).all()
    np.testing.assert_array_equal(ahead[valid], (rows[:, None] + np.arange(4))[valid])


def test_episode_weights_follow_the_first_matching_pattern() -> None:
    metas = make_recordings(episodes=4, policies=("expert_a", "noisy", "bad", "play")).metas
    weights = episode_weights(metas, {"expert*": 1.0, "noisy": 0.5, "*": 0.1}, only_successes=True)
    np.testing.assert_allclose(weights, [1.0, 0.5, 0.0, 0.1])
    np.testing.assert_allclose(episode_weights(metas, {}, only_successes=False), 1.0)
    with pytest.raises(DataError, match="no episode.*'bad', 'expert_a'"):
        episode_weights(metas, {"nobody": 1.0}, only_successes=False)


def test_gathered_batches_carry_the_actions_that_follow() -> None:
    recordings = make_recordings()
    lesson = Lesson.of(recordings, SHORT)
    assert recordings.action_mask[lesson.rows].all()
    batch = lesson.gather(torch.tensor([0, 9]), torch.Generator())
    for item, row in zip((0, 1), lesson.rows[[0, 9]], strict=True):
        np.testing.assert_array_equal(batch["pixels"][item], recordings.pixels[row])
        valid = batch["weight"][item].numpy() > 0
        np.testing.assert_array_equal(
            batch["action"][item].numpy()[valid], recordings.action[row : row + valid.sum()]
        )


def test_loss_ignores_what_lies_past_the_end_and_stresses_the_first() -> None:
    network = make_network()
    loss = ChunkLoss(network, replace(SHORT, augmentation=NO_CHANGE, first_actions=3.0))
    batch = Lesson.of(make_recordings(), SHORT).gather(torch.arange(4), torch.Generator())
    target = predict(network, batch["pixels"].numpy(), batch["agent_pos"].numpy())
    offset = np.array([1.0, 0.5, 99.0, 99.0], np.float32)[None, :, None]
    batch["action"] = torch.from_numpy(target + offset)
    batch["weight"] = torch.tensor([[1.0, 1.0, 0.0, 0.0]]).repeat(4, 1)
    with torch.no_grad():
        total = loss(batch, 0.0, torch.Generator()).total
    assert float(total) == pytest.approx((3 * 1.0 + 1 * 0.5) / 4, abs=1e-5)


def test_ladder_is_reproducible_and_differs_from_rung_to_rung(tmp_path: Path) -> None:
    recordings = make_recordings()
    first = train_behaviour(recordings, SHORT, tmp_path / "a", RUN)
    second = train_behaviour(recordings, SHORT, tmp_path / "b", RUN)
    assert [folder.name for folder in first] == ["step_000002", "step_000004", "step_000006"]
    stored = [(f / "model.safetensors").read_bytes() for f in first]
    assert stored == [(f / "model.safetensors").read_bytes() for f in second]
    assert len(set(stored)) == 3
    assert not list(tmp_path.rglob("*.pkl"))


def test_training_goes_on_from_another_checkpoint(tmp_path: Path) -> None:
    recordings = make_recordings()
    begun = train_behaviour(recordings, SHORT, tmp_path / "a", RUN)[-1]
    still = replace(SHORT, fit=FitConfig(max_steps=1, batch_size=8, lr=1e-9), ladder=(1,))
    further = train_behaviour(
        recordings, replace(still, start_from=str(begun)), tmp_path / "b", RUN
    )[0]
    before, after = (load_behaviour(folder)[0] for folder in (begun, further))
    torch.testing.assert_close(after.head[0].weight, before.head[0].weight)
    with pytest.raises(DataError, match="does not fit"):
        other = replace(still, start_from=str(begun), width=8)
        train_behaviour(recordings, other, tmp_path / "c", RUN)


def test_training_learns_to_point_at_the_square(tmp_path: Path) -> None:
    recordings = make_recordings(episodes=60)
    config = replace(
        SHORT, fit=FitConfig(max_steps=250, batch_size=32, lr=5e-3, ema_decay=0.95), ladder=(250,)
    )
    folder = train_behaviour(recordings, config, tmp_path, RUN)[0]
    policy = BCPolicy(SPEC, str(folder))
    fresh = make_recordings(episodes=60)
    rows = np.flatnonzero(fresh.action_mask)[:64]
    pixels = {name: fresh.pixels[rows, i] for i, name in enumerate(CAMERAS)}
    agent = np.zeros((64, 4), np.float32)
    acted = policy.act({"pixels": pixels, "agent_pos": agent, "task": [""] * 64}, range(64))
    error = np.abs(acted[:, 0] - fresh.action[rows]).mean()
    untrained = np.abs(fresh.action[rows]).mean()
    assert error < 0.5 * untrained


@pytest.mark.parametrize(
    "changes",
    [
        {"ladder": ()},
        {"ladder": (4, 2)},
        {"ladder": (7,)},
        {"n_action_steps": 5},
        {"fit": FitConfig(max_steps=None, max_time_s=1.0)},
    ],
)
def test_bad_training_configs(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        replace(SHORT, **changes)


def test_policy_equals_its_network_in_any_batching(tmp_path: Path) -> None:
    folder = save(tmp_path / "rung")
    observation = make_observation(7)
    whole, split = BCPolicy(SPEC, str(folder)), BCPolicy(SPEC, str(folder), batch_size=3)
    assert whole.name == "rung" and whole.n_action_steps == 2
    network, _, _ = load_behaviour(folder)
    pixels = np.stack([observation["pixels"][name] for name in CAMERAS], axis=1)
    wanted = np.clip(predict(network, pixels, observation["agent_pos"]), -1, 1)
    np.testing.assert_allclose(whole.act(observation, range(7)), wanted, atol=1e-5)
    np.testing.assert_allclose(split.act(observation, range(7)), wanted, atol=1e-5)


def test_policy_uses_its_own_cameras_of_more(tmp_path: Path) -> None:
    folder = save(tmp_path / "rung")
    more = replace(SPEC, cameras=(replace(SPEC.cameras[0], name="extra"), *SPEC.cameras[::-1]))
    observation = make_observation(2)
    observation["pixels"]["extra"] = observation["pixels"]["left"]
    np.testing.assert_array_equal(
        BCPolicy(more, str(folder)).act(observation, [0, 1]),
        BCPolicy(SPEC, str(folder)).act(observation, [0, 1]),
    )


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (make_spec(fps=20), "fps"),
        (make_spec(action_dim=4), "action"),
        (make_spec(size=32), "cameras"),
    ],
)
def test_policy_refuses_another_world(tmp_path: Path, spec: Any, field: str) -> None:
    folder = save(tmp_path / "rung")
    with pytest.raises(SpecMismatchError, match=field):
        BCPolicy(spec, str(folder))


def test_missing_and_broken_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown policy checkpoint"):
        BCPolicy(SPEC, "nowhere/at_all")
    with pytest.raises(UsageError, match="give a policy checkpoint"):
        BCPolicy(SPEC)
    with pytest.raises(UsageError, match="holds no config.json"):
        BCPolicy(SPEC, str(tmp_path))
    with pytest.raises(UsageError, match="unknown behaviour network 'torch.hub.load'"):
        BCPolicy(SPEC, str(save(tmp_path / "a", network="torch.hub.load")))
    with pytest.raises(DataError, match="is a 'perception' checkpoint"):
        BCPolicy(SPEC, str(save(tmp_path / "b", kind="perception")))
    with pytest.raises(DataError, match="does not describe a behaviour network"):
        BCPolicy(SPEC, str(save(tmp_path / "c", shape={"num_views": 2})))
    with pytest.raises(UsageError, match="n_action_steps is 9"):
        BCPolicy(SPEC, str(save(tmp_path / "d")), n_action_steps=9)
    folder = save(tmp_path / "e")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DataError, match="not a whole safetensors"):
        BCPolicy(SPEC, str(folder))


def test_augmentation_keeps_what_it_should() -> None:
    pixels = torch.from_numpy(make_recordings(episodes=2).pixels)
    plain = augment(pixels, NO_CHANGE, torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain, to_model_video(pixels))
    shifted = augment(pixels, replace(NO_CHANGE, shift=2), torch.Generator().manual_seed(0))
    # A shift moves the square by whole pixels and changes nothing else.
    assert set(shifted.flatten().tolist()) == set(plain.flatten().tolist())
    moved = (shifted != plain).flatten(2).any(-1)
    assert moved.float().mean() > 0.7
    assert not torch.equal(moved[:, 0], moved[:, 1])
    full = [augment(pixels, Augmentation(), torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(full[0], full[1]) and not torch.equal(full[0], full[2])
