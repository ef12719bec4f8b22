"""Many imagined envs in one: a single batched model call a step, gymnasium's vector interface."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from worldsim.conventions import split_views
from worldsim.envs.imagination.engine import ImaginationEngine, ImaginedObservation
from worldsim.envs.imagination.loading import (
    DEFAULT_MODEL,
    horizon_of,
    known_mode,
    load_judge,
    load_model,
    load_starts,
    observation_space,
    unknown_options,
)
from worldsim.envs.imagination.single import (
    check_arguments,
    clip_agent_pos,
    draw_start,
    info_arrays,
)
from worldsim.envs.imagination.start import Start
from worldsim.envs.imagination.starts import SimulatorStarts, StartSource
from worldsim.errors import UsageError
from worldsim.judge.judge import Judge
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Acceleration
from worldsim.spec import WorldSpec

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Info = dict[str, Any]
StepResult = tuple[dict[str, Any], NDArray[np.float64], Bool, Bool, Info]


class ImaginationVectorEnv(VectorEnv[dict[str, Any], Float, NDArray[Any]]):
    """N imagined envs, see `ImaginationEnv`; env i with seed s + i does what one env does with it.

    Args:
        num_envs: N.
        model: a world model, its folder, `shipped/<name>` or `hub:owner/name`.
        judge: a judge or its folder; None takes the folder `judge` beside the model.
        starts: where episodes begin; None takes the simulator that the judge's data came from.
        sampling_steps: denoising steps a frame, 1 to 8.
        max_episode_steps: an episode is truncated after so many actions; None takes the
            simulator's own horizon, or 50 where the starts come from no simulator.
        success_bonus: reward of success.
        acceleration: how the model's passes are run: none, compile or cuda_graphs; see
            `worldsim.sampling.sampler`.
        autoreset_mode: NEXT_STEP (the step after the last one begins an episode, its action is
            ignored), SAME_STEP (`final_obs` and `final_info` in the info), or DISABLED (begin
            again with `reset(options={"reset_mask": mask})`; a finished env must not be stepped).
        render_mode: None or "rgb_array".
    """

    def __init__(
        self,
        num_envs: int = 1,
        model: WorldModel | str | Path = DEFAULT_MODEL,
        judge: Judge | str | Path | None = None,
        starts: StartSource | None = None,
        sampling_steps: int = 2,
        max_episode_steps: int | None = None,
        success_bonus: float = 1.0,
        acceleration: Acceleration = "none",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        check_arguments(max_episode_steps, render_mode)
        if num_envs < 1:
            raise UsageError(f"num_envs is {num_envs}; it must be at least 1")
        world = load_model(model)
        verdicts = load_judge(judge, model)
        self.engine = ImaginationEngine(
            world, verdicts, sampling_steps, success_bonus, acceleration
        )
        self.engine.warn_of_sparse_reward()
        self.starts = load_starts(starts, verdicts, world)
        self._owns_starts = starts is None
        self.spec_world: WorldSpec = world.spec
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps or horizon_of(self.starts)
        self.autoreset_mode = known_mode(autoreset_mode)
        self.render_mode = render_mode
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": world.spec.fps,
            "reward": self.engine.reward_terms,
            "autoreset_mode": self.autoreset_mode,
        }
        self._space = self.starts.observation_space or observation_space(world.spec)
        self.single_observation_space = self._space
        self.single_action_space = world.spec.action.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = []
        self._starts: list[Start] = []
        self._steps = np.zeros(num_envs, np.int64)
        self._done = np.zeros(num_envs, bool)
        self._pixels: NDArray[np.uint8] = np.zeros((0, 0, 0, 0, 3), np.uint8)
        self._agent_pos: Float = np.zeros((0,), np.float32)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], Info]:
        """Begin episodes in all envs, or in those of `options["reset_mask"]`.

        Args:
            seed: of env 0 (env i gets seed + i), or one for each env. Envs that are not reset
                keep their random numbers.
            options: `reset_mask` bool `[N]`; `initial_state`, one for all envs or a list of N
                (see `ImaginationEnv.reset`).

        Raises:
            UsageError: an unknown option, or a wrong mask, seed list or initial state.
        """
        options = options or {}
        unknown_options(options, {"reset_mask", "initial_state"})
        mask = self._mask(options.get("reset_mask"))
        states = self._initial_states(options.get("initial_state"))
        self._seed(seed, mask)
        if mask is None:
            running: list[Start | None] = [*self._starts] or [None] * self.num_envs
            drawn = [
                draw_start(self.starts, rng, state, start)
                for rng, state, start in zip(self._rngs, states, running, strict=True)
            ]
            self._starts = [start for start, _ in drawn]
            seen = self.engine.start(self._starts, [noise for _, noise in drawn])
            self._steps[:] = 0
            self._done[:] = False
            self._pixels, self._agent_pos = seen.pixels.copy(), seen.agent_pos.copy()
            return self._observation(), _masked(info_arrays(seen), np.ones(self.num_envs, bool))
        info = _masked(self._restart(mask, states), mask)
        return self._observation(), info

    def step(self, actions: Float) -> StepResult:
        """One imagined frame in every env.

        Args:
            actions: `[N, A]`.

        Raises:
            UsageError: wrong shape, not finite, before `reset`, or (autoreset DISABLED) while
                an env has finished and was not reset.
        """
        if not self._starts:
            raise UsageError("ImaginationVectorEnv was stepped before reset; call reset() first")
        again = self._done.copy()
        if again.any() and self.autoreset_mode == AutoresetMode.DISABLED:
            raise UsageError(
                f"envs {np.flatnonzero(again).tolist()} have finished; with autoreset DISABLED "
                "call reset(options={'reset_mask': mask}) for them before the next step"
            )
        seen = self.engine.step(self.spec_world.action.vector(actions, "ImaginationVectorEnv"))
        self._steps += 1
        self._pixels, self._agent_pos = seen.pixels, seen.agent_pos
        info = info_arrays(seen)
        reward = seen.reward.astype(np.float64)
        terminated = seen.success.copy()
        truncated = self._steps >= self.max_episode_steps
        if again.any():  # NEXT_STEP: these begin now, whatever they did in the call above
            _overwrite(info, self._restart(again, [None] * self.num_envs), again)
            reward[again], terminated[again], truncated[again] = 0.0, False, False
        self._done = terminated | truncated
        infos = _masked(info, np.ones(self.num_envs, bool))
        if self.autoreset_mode == AutoresetMode.SAME_STEP and self._done.any():
            infos = self._same_step_reset(info)
        return self._observation(), reward, terminated, truncated, infos

    def _same_step_reset(self, info: dict[str, NDArray[Any]]) -> Info:
        finished = self._done.copy()
        final = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(finished):
            final[row] = self._observation(int(row))
        final_info = {name: values.copy() for name, values in info.items()}
        _overwrite(info, self._restart(finished, [None] * self.num_envs), finished)
        return _masked(info, np.ones(self.num_envs, bool)) | {
            "final_obs": final,
            "_final_obs": finished,
            "final_info": _masked(final_info, finished),
            "_final_info": finished.copy(),
        }

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """For each env the cameras side by side, uint8 `[H, V*W, 3]`; None without a mode."""
        if self.render_mode is None or not self._starts:
            return None
        return tuple(np.concatenate(list(views), axis=1) for views in list(self._pixels))

    def close_extras(self, **kwargs: Any) -> None:
        """Close the simulator of the starts, if the env made it; starts that were passed in are the
        caller's, who may share them, and stay open."""
        if self._owns_starts and isinstance(self.starts, SimulatorStarts):
            self.starts.close()

    def _restart(self, mask: Bool, states: list[Any]) -> dict[str, NDArray[Any]]:
        """Begin episodes in the rows of `mask`; info arrays `[N, ...]`, zero elsewhere."""
        rows = np.flatnonzero(mask)
        drawn = [
            draw_start(self.starts, self._rngs[row], states[row], self._starts[row]) for row in rows
        ]
        starts, noises = zip(*drawn, strict=True)
        for row, start in zip(rows, starts, strict=True):
            self._starts[row] = start
        seen = self.engine.restart(rows, starts, noises)
        self._steps[rows] = 0
        self._done[rows] = False
        # New arrays: observations already handed out must not change under their owner.
        self._pixels, self._agent_pos = self._pixels.copy(), self._agent_pos.copy()
        self._pixels[rows], self._agent_pos[rows] = seen.pixels, seen.agent_pos
        return _scatter(seen, rows, self.num_envs)

    def _seed(self, seed: int | Sequence[int | None] | None, mask: Bool | None) -> None:
        """Fresh random numbers for the envs in `mask` (None: all) that are given a seed."""
        if isinstance(seed, int | np.integer):
            if mask is None:
                super().reset(seed=int(seed))
            seeds: Sequence[int | None] = [int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = [None] * self.num_envs if seed is None else list(seed)
        if len(seeds) != self.num_envs:
            raise UsageError(f"{len(seeds)} seeds were given for {self.num_envs} envs")
        if not self._rngs:
            self._rngs = [seeding.np_random(value)[0] for value in seeds]
            return
        for i, value in enumerate(seeds):
            if value is not None and (mask is None or mask[i]):
                self._rngs[i] = seeding.np_random(value)[0]

    def _mask(self, mask: Any) -> Bool | None:
        if mask is None:
            return None
        array = np.asarray(mask)
        if array.dtype != np.bool_ or array.shape != (self.num_envs,) or not array.any():
            raise UsageError(
                f"reset_mask must be bool [{self.num_envs}] with at least one True, got "
                f"{array.dtype} {array.shape}"
            )
        if not self._starts:
            raise UsageError("reset_mask needs running envs; call reset() without a mask first")
        return array

    def _initial_states(self, state: Any) -> list[Any]:
        if not isinstance(state, list | tuple):
            return [state] * self.num_envs
        if len(state) != self.num_envs:
            raise UsageError(f"{len(state)} initial states for {self.num_envs} envs")
        return list(state)

    def _observation(self, row: int | None = None) -> dict[str, Any]:
        """Of all envs, or of one."""
        rows = slice(None) if row is None else row
        tasks = tuple(start.task for start in self._starts)
        return {
            "pixels": split_views(self._pixels[rows], self.spec_world.camera_names),
            "agent_pos": clip_agent_pos(self._agent_pos[rows], self._space),
            "task": tasks if row is None else tasks[row],
        }


def _scatter(seen: ImaginedObservation, rows: NDArray[np.int64], count: int) -> dict[str, Any]:
    spread = {}
    for name, values in info_arrays(seen).items():
        spread[name] = np.zeros((count, *values.shape[1:]), values.dtype)
        spread[name][rows] = values
    return spread


def _overwrite(info: dict[str, NDArray[Any]], fresh: dict[str, NDArray[Any]], mask: Bool) -> None:
    for name, values in info.items():
        changed = values.copy()
        changed[mask] = fresh[name][mask]
        info[name] = changed


def _masked(info: dict[str, NDArray[Any]], mask: Bool) -> Info:
    """Gymnasium's vector info: each array beside the mask of envs that it speaks of."""
    return dict(info) | {f"_{name}": mask.copy() for name in info}
