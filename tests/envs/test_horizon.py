"""`gymnasium.make(..., max_episode_steps=)` holds for every registered env, longer or shorter."""

from typing import Any

import fake_habitat
import gymnasium
import numpy as np
import pytest
from imagination_testing import nano_judge, nano_starts
from worldsim_testing import nano_model, nano_spec

from worldsim.envs import ENTRY_POINTS, make
from worldsim.envs.imagination import FrameStarts

CAMERA = {"name": "front", "position": [1.7, -0.3, 0.9], "target": [0.25, -0.25, -0.2]}


def arguments(env_id: str) -> dict[str, Any]:
    if env_id.endswith("Imagination-v0"):
        starts = FrameStarts(nano_starts(), nano_spec())
        return {
            "model": nano_model(),
            "judge": nano_judge(),
            "starts": starts,
            "sampling_steps": 1,
        }
    if env_id.endswith("Foreign-v0"):
        return {"source": "Pusher-v5", "cameras": [CAMERA], "image_size": 16}
    return {} if env_id.endswith("Street-v0") else {"image_size": 16}  # which has one size


def length(env: gymnasium.Env[Any, Any]) -> int:
    """Steps of standing still until the episode is truncated."""
    env.reset(seed=0)
    action, steps, truncated = np.zeros(env.action_space.shape or (), np.float32), 0, False
    while not truncated:
        *_, truncated, _ = env.step(action)
        steps += 1
    env.close()
    return steps


@pytest.mark.parametrize("env_id", ENTRY_POINTS)
def test_gymnasium_decides_how_long_an_episode_is(
    env_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if env_id.endswith("HabitatNav-v0"):
        fake_habitat.install(monkeypatch)
    given = arguments(env_id)
    own = gymnasium.make(env_id, **given).unwrapped.max_episode_steps  # type: ignore[attr-defined]
    for asked, told in ((own + 30, own + 30), (own - 3, own - 3), (-1, own)):
        env = gymnasium.make(env_id, max_episode_steps=asked, **given)
        assert env.unwrapped.max_episode_steps == told, asked  # type: ignore[attr-defined]
        env.close()


@pytest.mark.parametrize("name", ["TabletopPush-v0", "Foreign-v0", "Imagination-v0"])
def test_episodes_last_as_long_as_was_asked(name: str) -> None:
    env_id = f"worldsim/{name}"
    given = arguments(env_id)
    own = gymnasium.make(env_id, **given).unwrapped.max_episode_steps  # type: ignore[attr-defined]
    assert length(gymnasium.make(env_id, max_episode_steps=own + 2, **given)) == own + 2
    assert length(gymnasium.make(env_id, max_episode_steps=2, **given)) == 2


def test_vectors_specs_and_registrations_are_heard_too() -> None:
    env_id = "worldsim/TabletopReach-v0"
    vector = gymnasium.make_vec(
        env_id, num_envs=2, vectorization_mode="sync", max_episode_steps=80, image_size=16
    )
    assert vector.get_attr("max_episode_steps") == (80, 80)  # type: ignore[attr-defined]
    vector.close()
    spec = gymnasium.make(env_id, max_episode_steps=80, image_size=16).spec
    assert spec is not None
    assert gymnasium.make(spec).unwrapped.max_episode_steps == 80  # type: ignore[attr-defined]
    own = make(env_id, max_episode_steps=70).spec
    assert own is not None
    assert gymnasium.make(own).unwrapped.max_episode_steps == 70  # type: ignore[attr-defined]
    gymnasium.register("elsewhere/Reach-v0", ENTRY_POINTS[env_id], max_episode_steps=90)
    try:
        longer: Any = gymnasium.make("elsewhere/Reach-v0").unwrapped
        assert longer.max_episode_steps == 90
    finally:
        gymnasium.registry.pop("elsewhere/Reach-v0")


def test_an_id_may_name_the_module_that_registers_it() -> None:
    env_id = "worldsim/TabletopReach-v0"
    plain: Any = gymnasium.make(env_id, image_size=16).unwrapped
    named: Any = gymnasium.make(f"worldsim.envs:{env_id}", image_size=16).unwrapped
    assert named.max_episode_steps == plain.max_episode_steps
    longer: Any = gymnasium.make(f"worldsim.envs:{env_id}", max_episode_steps=80, image_size=16)
    assert longer.unwrapped.max_episode_steps == 80


def test_envs_inside_an_env_keep_their_own_length() -> None:
    outer: Any = gymnasium.make(
        "worldsim/Imagination-v0", model="shipped/push", max_episode_steps=80
    )
    assert outer.unwrapped.max_episode_steps == 80
    assert outer.unwrapped.starts.max_episode_steps == 50
    outer.close()
