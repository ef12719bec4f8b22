"""Actions recovered from frames, and the limit beyond which a rollout is unknown."""

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from worldsim.errors import DataError
from worldsim.judge.gate import (
    FOLDER,
    LIMIT,
    WINDOW,
    GateLimit,
    choose_limit,
    train_inverse_dynamics,
    windowed,
)
from worldsim.judge.sampling import JudgeConfig
from worldsim.models.heads.inverse_dynamics import InverseDynamics, InverseDynamicsConfig

NAN = float("nan")


class Plain:
    """A world model whose latents are the pixels."""

    def encode(self, pixels: torch.Tensor, state: torch.Tensor | None = None) -> torch.Tensor:
        return pixels.float().movedim(-1, -3) / 127.5 - 1


def walks(episodes: int = 20, length: int = 30) -> Any:
    """A bright square that goes where the first two entries say; the third says nothing."""
    rng = np.random.default_rng(0)
    action = rng.uniform(-1, 1, (episodes * length, 3)).astype(np.float32)
    pixels = np.zeros((episodes * length, 1, 16, 16, 3), np.uint8)
    for episode in range(episodes):
        place = np.array([8.0, 8.0])
        for row in range(episode * length, (episode + 1) * length):
            grid = np.arange(16) + 0.5
            near = [np.clip(2.5 - np.abs(grid - p), 0, 1) for p in place]
            pixels[row, 0] = (255 * near[1][:, None] * near[0][None]).astype(np.uint8)[..., None]
            action[row, :2] = np.clip(action[row, :2], (3 - place) / 2, (13 - place) / 2)
            place = place + 2 * action[row, :2]
    bounds = np.arange(episodes + 1) * length
    folds = [4 if e % 4 == 0 else 0 for e in range(episodes)]
    agent_pos = np.zeros((len(action), 2), np.float32)
    return SimpleNamespace(
        pixels=pixels, action=action, agent_pos=agent_pos, episode_start=bounds, folds=folds
    )


@pytest.fixture(scope="module")
def learnt() -> tuple[InverseDynamics, Any]:
    data, model = walks(), Plain()
    config = JudgeConfig(gate_steps=250, buffer_size=900)
    return train_inverse_dynamics(model, data, config), data  # type: ignore[arg-type]


def test_actions_are_recovered_and_others_stand_out(learnt: tuple[InverseDynamics, Any]) -> None:
    network, data = learnt
    rows = np.arange(0, 29)
    frames = torch.from_numpy(data.pixels).float().movedim(-1, -3) / 127.5 - 1
    pair = frames[rows], frames[rows + 1]
    action = torch.from_numpy(data.action[rows])
    assert (network(*pair) - action)[:, :2].abs().mean() < 0.15
    own = network.error(*pair, action).mean()
    assert 0.5 < own < 1.5
    assert network.error(*pair, -action).mean() > 2.5 * own
    # Frames that stay while a command says to go are found too.
    going = action[:, :2].abs().amax(1) > 0.5
    held = network.error(pair[0], pair[0], action)[going].mean()
    assert held > 2 * own
    # An entry that no frame tells has a wide spread, and weighs little.
    assert network.spread[2] > 4 * network.spread[:2].max()
    silent = action.clone()
    silent[:, 2] *= -1
    assert network.error(*pair, silent).mean() < 1.7 * own


def test_networks_survive_the_disk(learnt: tuple[InverseDynamics, Any], tmp_path: Path) -> None:
    network, _ = learnt
    network.save_pretrained(tmp_path)
    again = InverseDynamics.from_pretrained(tmp_path)
    before, after, action = (
        torch.rand(2, 1, 3, 16, 16),
        torch.rand(2, 1, 3, 16, 16),
        torch.rand(2, 3),
    )
    torch.testing.assert_close(
        again.error(before, after, action), network.error(before, after, action)
    )
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="does not describe inverse dynamics"):
        InverseDynamics.from_pretrained(tmp_path)


def test_spread_is_what_is_left_on_episodes_that_were_not_trained_on() -> None:
    network = InverseDynamics(InverseDynamicsConfig((1, 3, 16, 16), 3))
    latents, action = torch.rand(4, 1, 3, 16, 16), torch.rand(4, 3)
    network.spread.fill_(0.5)
    wide = network.error(latents, latents, action)
    network.spread.fill_(0.25)
    torch.testing.assert_close(network.error(latents, latents, action), 2 * wide)


def test_means_over_the_last_steps() -> None:
    np.testing.assert_allclose(windowed(np.array([3, 1, 2, 6], np.float32), 2), [3, 2, 1.5, 4])
    assert len(windowed(np.zeros(0, np.float32), 3)) == 0


def test_a_rollout_passes_its_limit_at_the_first_step_beyond() -> None:
    limit = GateLimit(2.0, 2, 0.95, 10, "weights")
    assert limit.crossing(np.array([NAN, 1, 1, 3.5, 1], np.float32)) == 3
    assert limit.crossing(np.array([NAN, 1, 1, 2.5, 1], np.float32)) is None
    assert limit.crossing(np.array([NAN], np.float32)) is None


def test_the_limit_lets_the_asked_share_of_replays_pass() -> None:
    rng = np.random.default_rng(0)
    replays = [rng.gamma(4, 0.25, size=30).astype(np.float32) for _ in range(200)]
    limit = choose_limit(replays, 0.9, "weights", 1)
    first = np.array([NAN], np.float32)
    passed = [limit.crossing(np.concatenate([first, each])) is None for each in replays]
    assert abs(np.mean(passed) - 0.9) <= 0.01
    assert (limit.window, limit.replays) == (WINDOW, 200)
    assert (limit.model, limit.sampling_steps) == ("weights", 1)


def test_a_limit_holds_for_the_model_and_the_steps_that_it_was_chosen_with(tmp_path: Path) -> None:
    assert GateLimit.of_folder(tmp_path / FOLDER, "weights", 1) is None
    limit = GateLimit(2.0, 2, 0.95, 10, "weights", 1)
    limit.save(tmp_path / FOLDER)
    assert GateLimit.of_folder(tmp_path / FOLDER, "weights", 1) == limit
    assert GateLimit.of_folder(tmp_path / FOLDER, "weights", 2) is None
    assert GateLimit.of_folder(tmp_path / FOLDER, "others", 1) is None
    # One of before says nothing of its steps.
    before = {key: value for key, value in asdict(limit).items() if key != "sampling_steps"}
    (tmp_path / FOLDER / LIMIT).write_text(json.dumps(before))
    assert GateLimit.of_folder(tmp_path / FOLDER, "weights", 1) is None
    (tmp_path / FOLDER / LIMIT).write_text('{"limit": 2}')
    with pytest.raises(DataError, match="gate"):
        GateLimit.of_folder(tmp_path / FOLDER, "weights", 1)
