"""Collections in simulators that others wrote: checked before work, and the same in workers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
from foreign_testing import (
    KWARGS,
    Frozen,
    PythonGoal,
    SlideEnv,
    Succeeds,
    Unrepeatable,
    register,
)
from picture_testing import DotEnv
from picture_testing import register as register_dot

from worldsim.collection.behaviours import Behaviour
from worldsim.collection.collect import collect
from worldsim.collection.recorder import CollectionConfig
from worldsim.data.dataset import LeRobotDataset
from worldsim.envs import make
from worldsim.errors import UsageError, WorldsimError
from worldsim.rollout.recorded_env import begin_again


def config(env_id: str, episodes: int = 3, **kwargs: Any) -> CollectionConfig:
    behaviours = {"random": Behaviour(1.0, "random", {"hold": 2})}
    return CollectionConfig(env_id, {**KWARGS, **kwargs}, behaviours, episodes, max_steps=3)


@pytest.mark.parametrize(
    ("cls", "error", "said"),
    [
        (Frozen, WorldsimError, "does not move"),
        (Unrepeatable, WorldsimError, "two resets with seed 0 differ"),
        (Succeeds, UsageError, "but succeed; say which one is success"),
    ],
)
def test_what_would_be_recorded_wrongly_is_refused_before_work(
    cls: type, error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        collect(config(register(cls)), tmp_path / "set", workers=0)
    assert not (tmp_path / "set").exists()


def test_an_env_that_cannot_repeat_itself_is_recorded_where_that_is_said(tmp_path: Path) -> None:
    dataset = collect(config(register(Unrepeatable), repeatable=False), tmp_path / "set", 0)
    assert dataset.num_episodes == 3 and dataset.env_info["kwargs"]["repeatable"] is False


def rows(dataset: LeRobotDataset) -> list[np.ndarray]:
    episodes = map(dataset.episode, range(dataset.num_episodes))
    return [part for e in episodes for part in (e.pixels["top"], e.state, e.success)]


@pytest.mark.slow
def test_a_collection_is_the_same_again_in_workers(tmp_path: Path) -> None:
    # Registered by this process alone: workers learn of it.
    gymnasium.register("ForeignInWorkers-v0", cast(Any, PythonGoal), max_episode_steps=50)
    settings = config("ForeignInWorkers-v0", 4)
    one = rows(collect(settings, tmp_path / "one", workers=0))
    other = rows(collect(settings, tmp_path / "other", workers=1))
    for here, there in zip(one, other, strict=True):
        np.testing.assert_array_equal(here, there)
    assert len({pixels[0].tobytes() for pixels in one[::3]}) == 4


def test_an_episode_without_a_stored_state_is_begun_again_by_its_seed(tmp_path: Path) -> None:
    kwargs = {"image_size": 16, "success": {"key": "reached"}}
    behaviours = {"random": Behaviour(1.0, "random")}
    env_id = register_dot(DotEnv)
    settings = CollectionConfig(env_id, kwargs, behaviours, 2, max_steps=3)
    dataset = collect(settings, tmp_path / "set", workers=0)
    cache: Any = SimpleNamespace(metas=[dataset.meta(i) for i in range(2)], root=dataset.root)
    env: Any = make(env_id, **kwargs).unwrapped
    for index in range(2):
        episode = dataset.episode(index)
        assert not episode.meta.initial_state and episode.meta.seed is not None
        begin_again(env, cache, index)
        np.testing.assert_allclose(
            env.step(episode.action[0])[0]["agent_pos"], episode.agent_pos[1], atol=1e-6
        )


def test_code_of_ones_own_is_a_part_of_what_is_collected(tmp_path: Path) -> None:
    expert = tmp_path / "mine.py"
    expert.write_text("class Expert:\n    def get_action(self, state):\n        return [0.1]\n")
    behaviours = {"mine": Behaviour(1.0, "expert", {"target": f"{expert}:Expert"})}
    settings = CollectionConfig(
        register_dot(DotEnv), {"image_size": 16, "success": False}, behaviours, 1, max_steps=2
    )
    collect(settings, tmp_path / "set", workers=0)
    collect(settings, tmp_path / "set", workers=0)
    expert.write_text(expert.read_text().replace("0.1", "0.2"))
    with pytest.raises(UsageError, match="collected with another code"):
        collect(settings, tmp_path / "set", workers=0)


@pytest.mark.slow
def test_a_worker_says_why_it_cannot_make_the_env(tmp_path: Path) -> None:
    class Local(SlideEnv):
        """No other process finds this class."""

    gymnasium.register("ForeignLocal-v0", cast(Any, Local), max_episode_steps=50)
    with pytest.raises(
        UsageError, match="worker process cannot make .*ForeignLocal-v0.*unknown env"
    ):
        collect(config("ForeignLocal-v0"), tmp_path / "set", workers=1)
