"""Imagined env steps a second, for one env and for sixteen, against a sampler without a cache.

A step is four sampling steps, three decoded 64x64 views, the judge's reading and the env around
it. The sampler without a cache runs the same network over the whole window (sink, recent and new
frame) at every sampling step; decoding and judging are the same in both.

    python scripts/bench/imagination.py [--model shipped/push] [--threads 2]
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from worldsim.config.compose import build, compose_config
from worldsim.diffusion.flow import as_history, sampling_sigmas, step_down
from worldsim.envs.imagination import FrameStarts, ImaginationVectorEnv, SimulatorStarts, Start
from worldsim.errors import UsageError
from worldsim.judge.finding import judge_folder
from worldsim.judge.judge import Judge, LearnedJudge, ObservedFrame, load_pretrained_judge
from worldsim.judge.report import JudgeReport, VerdictRule
from worldsim.models.conditioners.steps import FrameSteps
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.heads.state_estimator import StateEstimator, StateEstimatorConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.sampling.stream import Stream

SAMPLING_STEPS = 4
ENVS = (1, 16)
ENV_ID = "worldsim/TabletopPush-v0"


def load(reference: str) -> tuple[WorldModel, Judge, str]:
    """The named model and its judge, or (speed does not depend on weights) a random `tiny`."""
    try:
        model = WorldModel.from_pretrained(reference)
        return model, load_pretrained_judge(judge_folder(None, reference)), reference
    except UsageError as error:
        print(f"{error}\nusing random weights of configs/model/tiny.yaml")
    spec = SimulatorStarts(ENV_ID).spec
    config = compose_config("train", ["dataset=none", "out=none", "model=tiny"]).model
    model = WorldModel(build(WorldModelConfig, config), spec).eval().requires_grad_(False)
    camera = spec.cameras[0]
    shape = StateEstimatorConfig(len(spec.cameras), spec.state.dim, (camera.height, camera.width))
    report = JudgeReport(0, 0, 0, 0, None, 0.0, 0, 0)
    judge = LearnedJudge(StateEstimator(shape).eval(), spec, VerdictRule(0.999), report)
    return model, judge, "random tiny"


class UncachedSampler:
    """Keeps the window's frames and conditions, and runs the denoiser over all of them."""

    def __init__(self, stream: Stream, start: Start, count: int) -> None:
        self.model, self.spec = stream.model, stream.spec
        self.ladder = sampling_sigmas(SAMPLING_STEPS)
        self.count = count
        pixels = torch.from_numpy(np.stack([start.pixels] * count))
        hand = torch.from_numpy(np.stack([start.agent_pos] * count))
        state = torch.from_numpy(np.stack([start.state] * count))
        self.body = self.body_before = self.model.dynamics.join(hand, state)
        self.rig = self.model.rig({"agent_pos": hand[:, None]})
        none = torch.zeros(count, self.spec.action.dim)
        self.frames = [self.model.encode(pixels)[:, None]]
        self.conds = [self._condition(none, torch.zeros(count), self.body)]

    def _condition(self, action: Tensor, known: Tensor, after: Tensor) -> Conditioning:
        views = torch.ones(self.count, 1, self.model.views)
        action, known, before, after = (row[:, None] for row in (action, known, self.body, after))
        steps = FrameSteps(action, known, before, after, views, self.rig)
        return self.model.condition_frames(steps)

    @torch.inference_mode()
    def step(self, actions: np.ndarray) -> np.ndarray:
        """One frame; uint8 pixels `[N, V, H, W, 3]`."""
        config = self.model.config
        action, known = torch.from_numpy(actions), torch.ones(self.count)
        after = self.model.dynamics.step(self.body_before, self.body, action, known)
        self.conds.append(self._condition(action, known, after))
        self.body_before, self.body = self.body, after
        window = config.sink + config.recent
        past, conds = self.frames[-window:], self.conds[-window - 1 :]
        cond = conds[0]
        for other in conds[1:]:
            cond = cond.then(other)
        history = as_history(torch.cat(past, 1), config.history_sigma)
        old = torch.full((self.count, len(past)), config.history_sigma)
        x = torch.randn_like(past[0])
        new = x
        for index in range(SAMPLING_STEPS):
            sigma = self.ladder[index].expand(self.count, 1)
            levels = torch.cat([old, sigma], dim=1)
            new = self.model.denoiser(torch.cat([history, x], 1), levels, cond)[:, -1:]
            x = step_down(x, new, sigma, self.ladder[index + 1].expand_as(sigma))
        self.frames = [*past, new.float()]
        self.conds = conds
        return self.model.decode(new[:, 0].float()).numpy()


def rate(step: Callable[[np.ndarray], object], count: int, actions: int, seconds: float) -> float:
    """Env steps a second of `step`, after filling its window."""
    rng = np.random.default_rng(0)

    def draw() -> np.ndarray:
        return rng.uniform(-1, 1, (count, actions)).astype(np.float32)

    for _ in range(10):
        step(draw())
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        step(draw())
        done += count
    return done / (time.perf_counter() - begin)


def measure(model: WorldModel, judge: Judge, count: int, seconds: float) -> tuple[float, float]:
    """Env steps a second: with the cache, and without."""
    camera = model.spec.cameras[0]
    rng = np.random.default_rng(0)
    shape = (len(model.spec.cameras), camera.height, camera.width, 3)
    start = Start(
        rng.integers(0, 256, shape, dtype=np.uint8),
        np.zeros(model.spec.agent_pos.dim, np.float32),
        "",
        state=np.zeros(model.spec.state.dim, np.float32),
    )
    env = ImaginationVectorEnv(
        count,
        model,
        judge,
        FrameStarts([start], model.spec),
        sampling_steps=SAMPLING_STEPS,
        max_episode_steps=10**9,
    )
    env.reset(seed=0)
    uncached = UncachedSampler(env.engine.stream, start, count)
    actions = model.spec.action.dim
    cached_rate = rate(env.step, count, actions, seconds)
    still = np.stack([start.agent_pos] * count)

    def plain(action: np.ndarray) -> None:
        judge.read(ObservedFrame(uncached.step(action), still), action)

    plain_rate = rate(plain, count, actions, seconds)
    return cached_rate, plain_rate


def main() -> None:
    """Measure and print; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="shipped/push")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each of four measurements")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, judge, name = load(arguments.model)
    found: dict[int, tuple[float, float]] = {}
    for count in ENVS:
        found[count] = measure(model, judge, count, arguments.seconds)
        cached, plain = found[count]
        print(f"{count} env(s): {cached:.1f} steps/s, without a cache {plain:.1f}")
    cached, plain = found[ENVS[-1]]
    line = {
        "name": "imagination",
        "value": round(cached, 1),
        "unit": f"env steps/s, {ENVS[-1]} envs",
        "ratio": round(cached / plain, 2),
        "against": "the same sampler without a cache",
        "one_env": round(found[1][0], 1),
        "one_env_ratio": round(found[1][0] / found[1][1], 2),
        "model": name,
        "threads": arguments.threads,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
