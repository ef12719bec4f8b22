"""stable-baselines3 trains in imagination unchanged."""

import pytest
import torch
from imagination_testing import nano_vector_env

from worldsim.envs.sb3_vec_env import SB3VecEnv

pytest.importorskip("stable_baselines3")


@pytest.mark.parametrize("mode", ["SAME_STEP", "DISABLED"])
def test_ppo_takes_steps_and_learns_something(mode: str) -> None:
    from stable_baselines3 import PPO

    env = SB3VecEnv(nano_vector_env(2, autoreset_mode=mode, max_episode_steps=3))
    learner = PPO(
        "MultiInputPolicy", env, n_steps=4, batch_size=4, n_epochs=1, seed=0, device="cpu"
    )
    before = torch.nn.utils.parameters_to_vector(learner.policy.parameters()).detach().clone()
    learner.learn(16)
    after = torch.nn.utils.parameters_to_vector(learner.policy.parameters()).detach()
    assert learner.num_timesteps >= 16 and torch.isfinite(after).all()
    assert not torch.equal(before, after)
