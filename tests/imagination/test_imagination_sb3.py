"""stable-baselines3 trains in imagination unchanged."""

from typing import Any

import pytest
import torch
from imagination_testing import nano_vector_env

from worldsim.envs.sb3_vec_env import SB3VecEnv

pytest.importorskip("stable_baselines3")


def flat_extractor() -> type[Any]:
    """Features without convolutions: SB3's own need larger images than the nano world has."""
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    class Flat(BaseFeaturesExtractor):
        def __init__(self, space: Any) -> None:
            super().__init__(space, sum(int(torch.tensor(s.shape).prod()) for s in space.values()))

        def forward(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.cat([part.flatten(1).float() for part in observation.values()], dim=1)

    return Flat


@pytest.mark.parametrize("mode", ["SAME_STEP", "DISABLED"])
def test_ppo_takes_steps_and_learns_something(mode: str) -> None:
    from stable_baselines3 import PPO

    env = SB3VecEnv(nano_vector_env(2, autoreset_mode=mode, max_episode_steps=3))
    kwargs = {"features_extractor_class": flat_extractor(), "net_arch": [8]}
    learner = PPO(
        "MultiInputPolicy",
        env,
        n_steps=4,
        batch_size=4,
        n_epochs=1,
        seed=0,
        device="cpu",
        policy_kwargs=kwargs,
    )
    before = torch.nn.utils.parameters_to_vector(learner.policy.parameters()).detach().clone()
    learner.learn(16)
    after = torch.nn.utils.parameters_to_vector(learner.policy.parameters()).detach()
    assert learner.num_timesteps >= 16 and torch.isfinite(after).all()
    assert not torch.equal(before, after)
