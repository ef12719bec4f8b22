"""stable-baselines3: our envs in its training, its models in our rankings."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from policy_fixtures import make_observation, make_spec

from worldsim.errors import DataError, SpecMismatchError, UsageError
from worldsim.policies.sb3 import SB3Policy, flatten_observation

stable_baselines3 = pytest.importorskip("stable_baselines3")

SIZE, LIMIT = 36, 5
SPEC = make_spec(size=SIZE)


class Countdown(gymnasium.Env[dict[str, Any], np.ndarray]):
    """Ends well once the actions' first entries add up to 2, badly after five steps."""

    metadata = {"render_modes": ["rgb_array"]}
    observation_space = spaces.Dict(
        {
            "pixels": spaces.Dict({"left": spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)}),
            "agent_pos": spaces.Box(-10, 10, (4,), np.float32),
            "task": spaces.Text(20),
        }
    )
    action_space = spaces.Box(-1, 1, (3,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.total = 0, 0.0
        self.mark = int(self.np_random.integers(1, 200))
        return self.observe(), {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.total += float(action[0])
        done = self.total >= 2
        return self.observe(), self.total, done, self.steps >= LIMIT, {"is_success": done}

    def observe(self) -> dict[str, Any]:
        return {
            "pixels": {"left": np.full((SIZE, SIZE, 3), self.mark, np.uint8)},
            "agent_pos": np.array([self.steps, self.total, 0, 0], np.float32),
            "task": "count down",
        }


def make_vector(mode: AutoresetMode, count: int = 2) -> Any:
    from worldsim.envs.sb3_vec_env import SB3VecEnv

    return SB3VecEnv(SyncVectorEnv([Countdown] * count, autoreset_mode=mode))


MODES = [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]


def test_spaces_are_flat_and_textless() -> None:
    env = make_vector(AutoresetMode.SAME_STEP)
    assert set(env.observation_space.spaces) == {"pixels_left", "agent_pos"}
    observation = env.reset()
    assert observation["pixels_left"].shape == (2, SIZE, SIZE, 3)
    assert all(env.observation_space[k].contains(v[0]) for k, v in observation.items())


@pytest.mark.parametrize("mode", MODES)
def test_ends_carry_the_last_observation_and_say_why(mode: AutoresetMode) -> None:
    env = make_vector(mode)
    env.seed(3)
    marks = env.reset()["pixels_left"][:, 0, 0, 0]
    actions = np.array([[1, 0, 0], [0.1, 0, 0]], np.float32)
    observation, reward, done, infos = env.step(actions)
    assert not done.any() and "terminal_observation" not in infos[0]
    observation, reward, done, infos = env.step(actions)
    # Env 0 reached 2 and was begun anew in the same step; env 1 goes on.
    np.testing.assert_array_equal(done, [True, False])
    assert infos[0]["terminal_observation"]["agent_pos"][1] == 2
    assert infos[0]["terminal_observation"]["pixels_left"][0, 0, 0] == marks[0]
    assert infos[0]["TimeLimit.truncated"] is False and infos[0]["is_success"]
    np.testing.assert_allclose(observation["agent_pos"][:, 0], [0, 2])
    np.testing.assert_allclose(reward, [2, 0.2])
    assert reward.dtype == np.float32
    for _ in range(3):
        observation, reward, done, infos = env.step(actions * 0)
    np.testing.assert_array_equal(done, [False, True])
    assert infos[1]["TimeLimit.truncated"] is True and not infos[1]["is_success"]
    assert infos[1]["terminal_observation"]["agent_pos"][0] == LIMIT
    np.testing.assert_allclose(observation["agent_pos"][:, 0], [3, 0])


@pytest.mark.parametrize("mode", MODES)
def test_seeding(mode: AutoresetMode) -> None:
    marks = []
    for seed in (5, 5, 6):
        env = make_vector(mode)
        env.seed(seed)
        marks.append(env.reset()["pixels_left"][:, 0, 0, 0].tolist())
    assert marks[0] == marks[1] != marks[2]
    assert marks[0][0] != marks[0][1]


def test_next_step_autoreset_is_refused() -> None:
    with pytest.raises(UsageError, match="SAME_STEP"):
        make_vector(AutoresetMode.NEXT_STEP)


def test_parts_of_one_batched_env_cannot_be_told_apart() -> None:
    env = make_vector(AutoresetMode.SAME_STEP)
    assert (
        env.get_attr("num_envs") == [2, 2] and env.env_is_wrapped(gymnasium.Wrapper) == [False] * 2
    )
    with pytest.raises(UsageError, match="on some envs only"):
        env.set_attr("x", 1, indices=[0])


def test_box_observations_stay_boxes() -> None:
    from worldsim.envs.sb3_vec_env import SB3VecEnv

    env = SB3VecEnv(
        gymnasium.make_vec(
            "Pendulum-v1", 2, "sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP}
        )
    )
    assert np.asarray(env.reset()).shape == (2, 3)


@pytest.mark.parametrize("mode", MODES)
def test_ppo_trains_and_its_model_acts(mode: AutoresetMode, tmp_path: Path) -> None:
    env = make_vector(mode)
    model = stable_baselines3.PPO(
        "MultiInputPolicy", env, n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu"
    )
    model.learn(64)
    observation = make_observation(4)
    observation["pixels"] = {
        name: np.zeros((4, SIZE, SIZE, 3), np.uint8) for name in observation["pixels"]
    }
    policy = SB3Policy(SPEC, model=model)
    actions = policy.act(observation, range(4))
    assert actions.shape == (4, 1, 3)
    flat = flatten_observation(observation)
    flat.pop("pixels_right")
    np.testing.assert_allclose(actions[:, 0], model.predict(flat, deterministic=True)[0])
    if mode is AutoresetMode.SAME_STEP:
        model.save(tmp_path / "model.zip")
        loaded = SB3Policy(SPEC, path=str(tmp_path / "model.zip"), allow_pickle=True)
        np.testing.assert_allclose(loaded.act(observation, range(4)), actions, atol=1e-6)


def test_files_are_not_unpickled_unasked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="allow_pickle=true"):
        SB3Policy(SPEC, path=str(tmp_path / "model.zip"))
    with pytest.raises(UsageError, match="either a model"):
        SB3Policy(SPEC)
    with pytest.raises(UsageError, match="unknown stable-baselines3 algorithm 'POP'"):
        SB3Policy(SPEC, path="x.zip", algorithm="POP", allow_pickle=True)
    with pytest.raises(DataError, match="no such file"):
        SB3Policy(SPEC, path=str(tmp_path / "model.zip"), allow_pickle=True)
    (tmp_path / "bad.zip").write_text("not a zip")
    with pytest.raises(DataError, match="cannot load"):
        SB3Policy(SPEC, path=str(tmp_path / "bad.zip"), allow_pickle=True)


class Model:
    """The two spaces that are checked."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Model(spaces.Box(-1, 1, (4,)), spaces.Box(-1, 1, (2,))), "takes 3 values"),
        (Model(spaces.Box(-1, 1, (4,)), spaces.Discrete(3)), "takes 3 values"),
        (Model(spaces.Box(-1, 1, (9,)), spaces.Box(-1, 1, (3,))), "expected agent_pos"),
        (
            Model(
                spaces.Dict({"pixels_rear": spaces.Box(0, 255, (3, SIZE, SIZE), np.uint8)}),
                spaces.Box(-1, 1, (3,)),
            ),
            "pixels_rear",
        ),
    ],
)
def test_models_of_other_worlds_are_refused(model: Model, message: str) -> None:
    with pytest.raises(SpecMismatchError, match=message):
        SB3Policy(SPEC, model=model)
