"""How much of a task is luck: the same policies from starts half a millimetre apart.

    python scripts/sensitivity.py push [--starts 32] [--shift 0.0005] [--policies bc_1 biased]

Every policy of the task's pool runs twice from each start in the simulator, the second time with
the object moved by a Gaussian `--shift` in x and y. Prints both success rates, how often the two
disagree, and the share of frames in which the object is tilted by more than 8 degrees. No imagined
rate can be expected to come nearer to the simulator's than the simulator comes to itself.
"""

import argparse
import json

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.config.compose import compose_config
from worldsim.envs import make
from worldsim.envs.tabletop.base import TabletopEnv
from worldsim.policies.base import Policy
from worldsim.policies.pool import load_pool

TILTED = np.cos(np.radians(8.0))
FIRST_SEED = 100_000


def episode(
    env: TabletopEnv, policy: Policy, seed: int, shift: NDArray[np.float64]
) -> tuple[bool, list[bool]]:
    """Whether the policy succeeds, and for every frame whether the object is tilted."""
    observation, _ = env.reset(seed=seed)
    place = int(env.model.joint("object").qposadr[0])
    env.data.qpos[place : place + 2] += shift
    mujoco.mj_forward(env.model, env.data)
    tilted: list[bool] = []
    success = False
    policy.reset([seed], 0)
    while len(tilted) < env.max_episode_steps and not success:
        seen = {
            "pixels": {name: frame[None] for name, frame in observation["pixels"].items()},
            "agent_pos": observation["agent_pos"][None],
            "task": [env.task],
        }
        for action in policy.act(seen, [seed])[0, : policy.n_action_steps]:
            observation, _, success, _, _ = env.step(np.asarray(action, np.float32))
            tilted.append(bool(env.data.body("object").xmat[8] < TILTED))
            if success or len(tilted) == env.max_episode_steps:
                break
    return success, tilted


def main() -> None:
    """Measure, print a line a policy, and end with one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["push", "pick_place"])
    parser.add_argument("--starts", type=int, default=32)
    parser.add_argument("--shift", type=float, default=5e-4, help="metres")
    parser.add_argument("--policies", nargs="*", default=[])
    options = parser.parse_args()
    torch.set_num_threads(1)
    experiment = compose_config("rank", [f"experiment={options.task}_pretrained", "out=unused"])
    env = make(experiment.env.id).unwrapped
    assert isinstance(env, TabletopEnv)
    rng = np.random.default_rng(0)
    shifts = rng.normal(0.0, options.shift, (options.starts, 2))
    disagreements, tilts = [], []
    for policy in load_pool(experiment.policy, env.spec_world, options.policies):
        both, tilted = np.zeros((2, options.starts), bool), []
        for start, shift in enumerate(shifts):
            for run, moved in enumerate((0.0 * shift, shift)):
                both[run, start], frames = episode(env, policy, FIRST_SEED + start, moved)
                tilted += frames
        disagreements.append(float((both[0] != both[1]).mean()))
        tilts.append(float(np.mean(tilted)))
        print(
            f"{policy.name:12} {both[0].mean():.2f} and {both[1].mean():.2f}, "
            f"disagree {disagreements[-1]:.3f}, tilted {tilts[-1]:.3f}",
            flush=True,
        )
    line = {
        "name": f"{options.task}: outcomes that a shift of {1000 * options.shift:g} mm changes",
        "value": round(float(np.mean(disagreements)), 4),
        "unit": "share of episodes",
        "tilted": round(float(np.mean(tilts)), 4),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
