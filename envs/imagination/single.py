"""One imagined env, with the interface of the simulator env it imagines."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.conventions import split_views
from worldsim.envs.imagination.engine import ImaginationEngine, ImaginedObservation
from worldsim.envs.imagination.loading import (
    DEFAULT_HORIZON,
    DEFAULT_MODEL,
    load_model,
    load_starts,
)
from worldsim.envs.imagination.start import Start, is_observation
from worldsim.envs.imagination.starts import SimulatorStarts, StartSource
from worldsim.envs.registration import HasHorizon, reset_options
from worldsim.envs.spaces import observation_space
from worldsim.errors import UsageError
from worldsim.judge.finding import load_judge
from worldsim.judge.judge import Judge
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Acceleration
from worldsim.spec import WorldSpec

Info = dict[str, Any]
NOISE_RANGE = 2**62


class ImaginationBase:
    """What the single env and the vector env have in common: their parts and their spaces.

    Attributes:
        engine: world model and judge.
        starts: where episodes begin.
        spec_world: the world.
        max_episode_steps: actions after which an episode is truncated.
    """

    asked_steps: int | None = None
    render_mode: str | None

    def _assemble(
        self,
        model: WorldModel | str | Path,
        judge: Judge | str | Path | None,
        starts: StartSource | None,
        sampling_steps: int | None,
        max_episode_steps: int | None,
        success_bonus: float,
        acceleration: Acceleration,
    ) -> None:
        """Load or take the parts; arguments are those of `ImaginationEnv`."""
        if max_episode_steps is not None and max_episode_steps < 1:
            raise UsageError(f"max_episode_steps is {max_episode_steps}; it must be at least 1")
        if self.render_mode not in (None, "rgb_array"):
            raise UsageError(
                f"render_mode {self.render_mode!r} is unknown; known: None, 'rgb_array'"
            )
        world, verdicts = load_model(model), load_judge(judge, model)
        self.engine = ImaginationEngine(
            world, verdicts, sampling_steps, success_bonus, acceleration
        )
        self.engine.warn_of_sparse_reward()
        self.starts = load_starts(starts, verdicts, world)
        self._owns_starts = starts is None
        self.spec_world: WorldSpec = world.spec
        horizon = getattr(self.starts, "max_episode_steps", None) or DEFAULT_HORIZON
        self.max_episode_steps = max_episode_steps or self.asked_steps or int(horizon)
        self._space = self.starts.observation_space or observation_space(world.spec)

    @property
    def _facts(self) -> dict[str, Any]:
        """The env's metadata."""
        return {
            "render_modes": ["rgb_array"],
            "render_fps": self.spec_world.fps,
            "reward": self.engine.reward_terms,
        }

    def _close_starts(self) -> None:
        """Close the simulator of the starts, if the env made it; starts that were passed in are the
        caller's, who may share them, and stay open."""
        if self._owns_starts and isinstance(self.starts, SimulatorStarts):
            self.starts.close()

    def _shown(
        self, pixels: NDArray[np.uint8], agent_pos: NDArray[np.float32], task: Any
    ) -> dict[str, Any]:
        """An observation, `agent_pos` within the bounds of its space; of one env or of N."""
        box = self._space["agent_pos"]
        assert isinstance(box, spaces.Box)
        return {
            "pixels": split_views(pixels, self.spec_world.camera_names),
            "agent_pos": np.clip(agent_pos, box.low, box.high).astype(np.float32),
            "task": task,
        }


class ImaginationEnv(HasHorizon, ImaginationBase, gymnasium.Env[dict[str, Any], NDArray[Any]]):
    """`worldsim/Imagination-v0`: a world model in place of a simulator, a judge in place of truth.

    Observation, action and info are those of the simulator env. Reward: the change of the
    judge's progress, plus `success_bonus` on success; a judge whose recordings told no progress
    leaves the bonus alone, of which the env warns. `metadata["reward"]` names the terms.
    Terminated on the judge's verdict of success or with the last sub-task, truncated after
    `max_episode_steps`. Info: `is_success`, `success`, `progress`, `state` (estimate),
    `success_probability`, and `events` where the model has a head that reads them.

    Args:
        model: a world model, its folder, `shipped/<name>` or `hub:owner/name`.
        judge: a judge or its folder; None takes the folder `judge` beside the model.
        starts: where episodes begin; None takes the simulator that the judge's data came from.
        sampling_steps: denoising steps a frame, 1 to 8; None takes the model's own.
        max_episode_steps: the episode is truncated after so many actions; None takes the
            simulator's own horizon, or 50 where the starts come from no simulator.
        success_bonus: reward of success.
        acceleration: how the model's passes are run: none, compile or cuda_graphs; see
            `worldsim.sampling.sampler`.
        render_mode: None or "rgb_array" (the cameras side by side).
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": 10,
    }

    def __init__(
        self,
        model: WorldModel | str | Path = DEFAULT_MODEL,
        judge: Judge | str | Path | None = None,
        starts: StartSource | None = None,
        sampling_steps: int | None = None,
        max_episode_steps: int | None = None,
        success_bonus: float = 1.0,
        acceleration: Acceleration = "none",
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self._assemble(
            model, judge, starts, sampling_steps, max_episode_steps, success_bonus, acceleration
        )
        self.metadata = self._facts  # type: ignore[misc]
        self.observation_space = self._space
        self.action_space = self.spec_world.action.space
        self._start: Start | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], Info]:
        """Begin an episode.

        Args:
            seed: fixes the start and all noise.
            options: `initial_state`: what the start source understands (a simulator state, a
                seed, an episode number) or an observation with `pixels` and `agent_pos`. An
                observation without a `rig` (a `CameraRig`) or `task` keeps those of the episode
                that runs; before the first, the rig is the one that all starts share, if they do.

        Raises:
            UsageError: an unknown option or an initial state that does not fit.
        """
        super().reset(seed=seed)
        asked = reset_options(options, ("initial_state",)).get("initial_state")
        self._start, noise = draw_start(self.starts, self.np_random, asked, self._start)
        self._steps = 0
        return self._show(self.engine.start([self._start], [noise]))

    def step(self, action: NDArray[Any]) -> tuple[dict[str, Any], float, bool, bool, Info]:
        """One imagined frame.

        Raises:
            UsageError: the action has a wrong shape or is not finite, or no episode runs.
        """
        if self._start is None:
            raise UsageError("ImaginationEnv was stepped before reset; call reset() first")
        vector = self.spec_world.action.vector(action, "ImaginationEnv")
        seen = self.engine.step(vector[None])
        self._steps += 1
        observation, info = self._show(seen)
        truncated = self._steps >= self.max_episode_steps
        return observation, float(seen.reward[0]), bool(seen.over[0]), truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """The cameras side by side, uint8 `[H, V*W, 3]`; None without a render mode."""
        if self.render_mode is None or self._pixels is None:
            return None
        return np.concatenate(list(self._pixels), axis=1)

    def close(self) -> None:
        """Close the simulator of the starts, if the env made it."""
        self._close_starts()

    def _show(self, seen: ImaginedObservation) -> tuple[dict[str, Any], Info]:
        assert self._start is not None
        self._pixels = seen.pixels[0]
        observation = self._shown(seen.pixels[0], seen.agent_pos[0], self._start.task)
        return observation, {name: values[0] for name, values in info_arrays(seen).items()} | {
            "is_success": bool(seen.success[0]),
            "success": bool(seen.success[0]),
        }


def draw_start(
    source: StartSource, rng: np.random.Generator, initial_state: Any, running: Start | None
) -> tuple[Start, int]:
    """A start (the asked one, or one by `rng`) and the number that names its noise.

    Args:
        source: where episodes begin.
        rng: of the env.
        initial_state: what the caller asks for, or None.
        running: with what the env's present episode began, if there is one.
    """
    noise = int(rng.integers(NOISE_RANGE))
    if initial_state is None:
        return source.draw(rng), noise
    start = source.from_state(initial_state)
    if is_observation(initial_state):
        start = start if running is None else start.after(running)
        if start.rig is None:  # a source may lack a rig that all of its starts share
            start = replace(start, rig=getattr(source, "rig", None))
    return start, noise


def info_arrays(seen: ImaginedObservation) -> dict[str, NDArray[Any]]:
    """Info of N envs, arrays `[N, ...]`."""
    told = {} if seen.events is None else {"events": seen.events}
    return told | {
        "is_success": seen.success.copy(),
        "success": seen.success.copy(),
        "progress": seen.judgement.progress,
        "state": seen.judgement.state,
        "success_probability": seen.judgement.success_probability,
    }
