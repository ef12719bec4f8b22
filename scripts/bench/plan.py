"""Decisions a second of a planner, for each search, at one budget of imagined plans.

A decision looks at the newest frame, imagines `--candidates` plans of `--horizon` steps an
iteration, and has the judge read one of five imagined frames. Against: the same decision without a
batch, its plans imagined one after the other. Speed does not depend on what the frames show.

    python scripts/bench/plan.py [--model shipped/push] [--candidates 64] [--horizon 10]
"""

import argparse
import json
import time
from typing import Any

import numpy as np
import torch

from worldsim.cameras.rig import CameraRig
from worldsim.models.world_model import WorldModel
from worldsim.policies.base import Policy
from worldsim.policies.planning.search import SEARCHES
from worldsim.policies.pool import build_policy, register_policies
from worldsim.spec import WorldSpec

LEADING = "random_shooting"
"""Scores each candidate once an iteration and nothing else, so that budgets are what they say."""


def blank(spec: WorldSpec) -> dict[str, Any]:
    """An observation of one env, as any policy is shown it."""
    rng = np.random.default_rng(0)
    hand = np.zeros((1, spec.agent_pos.dim), np.float32)
    hand[:, 3:9] = [1, 0, 0, 0, 1, 0]  # upright, where a rotation stands there
    pixels = {
        camera.name: rng.integers(0, 256, (1, camera.height, camera.width, 3), np.uint8)
        for camera in spec.cameras
    }
    above = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    above[2, 3] = 0.6
    lens = [
        [[c.width, 0, c.width / 2], [0, c.width, c.height / 2], [0, 0, 1]] for c in spec.cameras
    ]
    count = len(spec.cameras)
    rig = CameraRig(
        spec.camera_names,
        np.array(lens, np.float32),
        np.tile(above, (count, 1, 1)),
        np.zeros(count, bool),
    )
    return {"pixels": pixels, "agent_pos": hand, "task": [""], "rig": [rig]}


def rate(policy: Policy, observation: dict[str, Any], seconds: float) -> float:
    """Decisions a second, after one that is not counted."""
    policy.reset([0], 0)
    policy.act(observation, [0])
    done, begun = 0, time.perf_counter()
    while not done or time.perf_counter() - begun < seconds:
        policy.act(observation, [0])
        done += 1
    return done / (time.perf_counter() - begun)


def main() -> None:
    """Measure and print; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="shipped/push")
    parser.add_argument("--candidates", type=int, default=64)
    parser.add_argument("--horizon", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each measurement")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    register_policies()
    spec = WorldModel.from_pretrained(given.model).spec
    options = {"model": given.model, "candidates": given.candidates, "horizon": given.horizon}

    def measured(name: str, batch_size: int) -> float:
        search = {"name": name, "iterations": given.iterations}
        search |= {"elites": max(given.candidates // 8, 1)} if name in ("cem", "icem") else {}
        more = {"search": search, "batch_size": batch_size, "device": given.device}
        policy = build_policy(spec, name, "planner", **options, **more)
        return rate(policy, blank(spec), given.seconds)

    found = {name: measured(name, given.candidates) for name in SEARCHES}
    for name, decisions in found.items():
        print(f"{name}: {decisions:.3f} decisions/s")
    alone = measured(LEADING, 1)
    line = {
        "name": "plan",
        "value": round(found[LEADING], 4),
        "unit": f"decisions/s, {given.candidates} plans x {given.horizon} steps "
        f"x {given.iterations}",
        "ratio": round(found[LEADING] / alone, 2),
        "against": "the same plans imagined one after the other",
        "searches": {name: round(value, 4) for name, value in found.items()},
        "imagined_steps_per_s": round(
            found[LEADING] * given.candidates * given.horizon * given.iterations, 1
        ),
        "model": given.model,
        "threads": given.threads,
        "device": given.device,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
