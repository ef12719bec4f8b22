"""An imagined street: its counter is the ledger's whatever the model draws, and houses stay."""

import copy
from functools import cache
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
import torch
from event_testing import decided
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from stream_testing import TWO, begin, frames_of, random_actions
from worldsim_testing import nano_model, nano_start

from worldsim.diffusion.schedule import autoregressive
from worldsim.envs.street.drawing import read_counter
from worldsim.envs.street.env import street_spec
from worldsim.envs.street.events import EventHead, NewCellRule, Steps, train_event_head
from worldsim.envs.street.imagined import ImaginedStreet, Modules
from worldsim.errors import DataError, SpecMismatchError, UsageError
from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.sampling.observed import amend
from worldsim.sampling.stream import Stream
from worldsim.validation.street import (
    imagined_steps,
    measure_street,
    recorded_steps,
    simulate,
    street_figures,
    wander,
)


@cache
def street_model(events: bool = False) -> WorldModel:
    """It was not trained: what it draws is noise."""
    torch.manual_seed(0)
    config = WorldModelConfig(
        TokenizerConfig(channels=4, width=8, depth=1),
        DenoiserConfig("stnet", width=16, depth=1, cond_width=16, head_dim=16),
        HeadConfig(width=8, keypoints=8, events=events),
        DynamicsConfig("none"),
        recent=3,
        conditioners=(),
    )
    return WorldModel(config, street_spec()).eval().requires_grad_(False)


def test_figures_of_the_simulators_own_frames_are_perfect() -> None:
    truth = simulate(wander(60, 3, 0), 0)
    assert truth.events.sum() > 20
    found = street_figures(truth, Modules(), truth.frames, truth.events, truth.scores)
    assert found.counter == found.f1 == found.houses == found.standing == found.ledger_right == 1
    assert found.right_for == 60 and found.off_at_end == found.phantoms == 0
    late = np.roll(truth.frames, 1, axis=0)
    late[0] = truth.frames[0]
    worse = street_figures(truth, Modules(), late, ~truth.events, truth.scores)
    assert worse.counter < 1 and worse.f1 == 0 and worse.right_for < 60


@pytest.mark.parametrize("kept", [True, False])
def test_the_counter_is_right_with_the_ledger_and_not_without(kept: bool) -> None:
    model = street_model()
    on = measure_street(model, NewCellRule(), Modules(True, kept), 40, 2)
    off = measure_street(model, NewCellRule(), Modules(False, kept), 40, 2)
    assert on.counter == on.ledger_right == on.f1 == 1 and on.right_for == 40
    assert off.ledger_right == 1 and off.counter < 0.5


def test_houses_stay_as_they_were_first_imagined_with_the_map() -> None:
    model = street_model()
    on = measure_street(model, NewCellRule(), Modules(True, True), 60, 2)
    assert on.houses == 1 and on.counter == 1


def test_a_head_learns_events_from_recorded_and_is_fed_by_imagined_steps(tmp_path: Path) -> None:
    steps = recorded_steps(simulate(wander(100, 12, 500), 500), 500)
    head = train_event_head(steps, updates=250)
    held = recorded_steps(simulate(wander(60, 4, 0), 0), 0)
    said = head.read(held.before, held.after, held.choices, held.choices)
    hits = (said & held.events).sum()
    assert 2 * hits / (said.sum() + held.events.sum()) > 0.95
    # The counter is hidden from it.
    hidden = held.after.copy()
    hidden[:, :12] = 0
    assert (head.read(held.before, hidden, held.choices, held.choices) == said).all()
    head.save(tmp_path / "head.safetensors")
    again = EventHead.load(tmp_path / "head.safetensors")
    assert (again.read(held.before, held.after, held.choices, held.choices) == said).all()
    (tmp_path / "other").write_text("none")
    with pytest.raises(DataError, match="no event head"):
        EventHead.load(tmp_path / "other")
    quiet = Steps(held.before, held.after, held.choices, np.zeros_like(held.events))
    with pytest.raises(DataError, match="0 of 240"):
        train_event_head(quiet)
    truth = simulate(wander(5, 2, 7), 7)
    drawn = imagined_steps(street_model(), truth, 7)
    assert drawn.after.shape == (10, 32, 64, 3)
    np.testing.assert_array_equal(drawn.events, truth.events.reshape(-1))


def test_the_imagined_env_pays_by_its_ledger() -> None:
    env = ImaginedStreet(street_model(), NewCellRule(), max_episode_steps=30)
    check_env(env, skip_render_check=True)
    env.reset(seed=3)
    rewards: list[float] = []
    for action in (2, 2, 1, 0, 1, 1):
        _, reward, _, _, info = env.step(action)
        rewards.append(float(reward))
    assert rewards == [1, 1, 0, 0, 0, 1]
    assert info["score"] == 3
    assert read_counter(env.render()) == 3
    with pytest.raises(SpecMismatchError):
        ImaginedStreet(nano_model(), NewCellRule())


def test_the_models_own_head_says_what_the_ledger_books() -> None:
    for said in (True, False):
        model = decided(copy.deepcopy(street_model(True)), (said,))
        env = ImaginedStreet(model, max_episode_steps=30)
        env.reset(seed=3)
        told = [env.step(action) for action in (2, 0, 1)]
        assert [float(reward) for _, reward, *_ in told] == [float(said)] * 3
        info = told[-1][4]
        assert info["events"].tolist() == [float(said)] and info["score"] == 3 * said
        figures = measure_street(model, None, Modules(), 20, 2)
        assert figures.recall == float(said) and figures.counter < 1
    with pytest.raises(UsageError, match=r"nobody says.*model.head.events=true"):
        ImaginedStreet(street_model())


def test_gymnasium_decides_how_long_an_imagined_street_is(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "tests/ImaginedStreet-v0"
    entry = cast(Any, ImaginedStreet)
    monkeypatch.setitem(gymnasium.registry, name, EnvSpec(name, entry))
    given: Any = {"model": street_model(), "reader": NewCellRule()}
    env = gymnasium.make(name, max_episode_steps=7, **given)
    assert env.unwrapped.max_episode_steps == 7  # type: ignore[attr-defined]


def test_an_amended_frame_leads_the_next_and_its_like_changes_nothing() -> None:
    def fresh() -> Stream:
        stream = Stream(nano_model(), autoregressive(TWO), precision="float32")
        begin(stream, [0, 1])
        stream.act(actions[:, 0])
        return stream

    actions = random_actions(2, 3)
    plain, same, other = fresh(), fresh(), fresh()
    kept = same.newest.clone()
    same.model.encode = lambda pixels, state=None: kept  # type: ignore[method-assign]
    amend(same, nano_start(2)["pixels"])
    amend(other, nano_start(4)["pixels"][2:])
    for stream in (plain, same, other):
        stream.push(actions[:, 1:])
    expected = frames_of(plain.drain())
    torch.testing.assert_close(frames_of(same.drain()), expected)
    assert not torch.allclose(frames_of(other.drain()), expected, atol=1e-3)
    with pytest.raises(UsageError, match="amended frames have shape"):
        amend(plain, nano_start(3)["pixels"])
