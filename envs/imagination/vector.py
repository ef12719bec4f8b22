"""Many imagined envs in one: a single batched model call a step, gymnasium's vector interface."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from worldsim.envs.imagination.loading import DEFAULT_MODEL
from worldsim.envs.imagination.single import ImaginationBase, draw_start, info_arrays
from worldsim.envs.imagination.start import Start
from worldsim.envs.imagination.starts import StartSource
from worldsim.envs.registration import reset_options
from worldsim.errors import UsageError
from worldsim.judge.judge import Judge
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Acceleration

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Info = dict[str, Any]
StepResult = tuple[dict[str, Any], NDArray[np.float64], Bool, Bool, Info]


class ImaginationVectorEnv(ImaginationBase, VectorEnv[dict[str, Any], Float, NDArray[Any]]):
    """N imagined envs, see `ImaginationEnv`; env i with seed s + i does what one env does with it.

    Args:
        num_envs: N.
        model: this and all that is not named here: see `ImaginationEnv`.
        autoreset_mode: NEXT_STEP (the step after the last one begins an episode, its action is
            ignored), SAME_STEP (`final_obs` and `final_info` in the info), or DISABLED (begin
            again with `reset(options={"reset_mask": mask})`; a finished env must not be stepped).
    """

    def __init__(
        self,
        num_envs: int = 1,
        model: WorldModel | str | Path = DEFAULT_MODEL,
        judge: Judge | str | Path | None = None,
        starts: StartSource | None = None,
        sampling_steps: int | None = None,
        max_episode_steps: int | None = None,
        success_bonus: float = 1.0,
        acceleration: Acceleration = "none",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise UsageError(f"num_envs is {num_envs}; it must be at least 1")
        self.render_mode = render_mode
        self._assemble(
            model, judge, starts, sampling_steps, max_episode_steps, success_bonus, acceleration
        )
        self.num_envs = num_envs
        self.autoreset_mode = _known_mode(autoreset_mode)
        self.metadata = {**self._facts, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self._space
        self.single_action_space = self.spec_world.action.space
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
        given = reset_options(options, ("initial_state", "reset_mask"))
        mask = self._mask(given.get("reset_mask"))
        states = self._initial_states(given.get("initial_state"))
        self._seed(seed, mask)
        again = np.ones(self.num_envs, bool) if mask is None else mask
        info: dict[str, NDArray[Any]] = {}
        self._begin(again, info, states, anew=mask is None)
        return self._observation(), _masked(info, again)

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
        terminated = seen.over.copy()
        truncated = self._steps >= self.max_episode_steps
        if again.any():  # NEXT_STEP: these begin now, whatever they did in the call above
            self._begin(again, info)
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
        self._begin(finished, info)
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
        """Close the simulator of the starts, if the env made it."""
        self._close_starts()

    def _begin(
        self,
        mask: Bool,
        info: dict[str, NDArray[Any]],
        states: list[Any] | None = None,
        anew: bool = False,
    ) -> None:
        """Begin episodes in some rows.

        Args:
            mask: bool `[N]` of the rows.
            info: arrays `[N, ...]` that the info of those rows is written to.
            states: N initial states, None where one is drawn.
            anew: whether the whole batch begins, whatever ran before.
        """
        rows = np.flatnonzero(mask)
        running: list[Start | None] = [*self._starts] or [None] * self.num_envs
        drawn = [
            draw_start(self.starts, self._rngs[i], states[i] if states else None, running[i])
            for i in rows
        ]
        starts, noises = zip(*drawn, strict=True)
        seen = self.engine.start(starts, noises, rows=None if anew else rows)
        self._steps[rows] = 0
        self._done[rows] = False
        # New arrays: observations already handed out must not change under their owner.
        if anew:
            self._starts = list(starts)
            self._pixels, self._agent_pos = seen.pixels.copy(), seen.agent_pos.copy()
        else:
            for row, start in zip(rows, starts, strict=True):
                self._starts[row] = start
            self._pixels, self._agent_pos = self._pixels.copy(), self._agent_pos.copy()
            self._pixels[rows], self._agent_pos[rows] = seen.pixels, seen.agent_pos
        for name, values in info_arrays(seen).items():
            shape = (self.num_envs, *values.shape[1:])
            info[name] = info[name].copy() if name in info else np.zeros(shape, values.dtype)
            info[name][rows] = values

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
        shown = self._shown(self._pixels[rows], self._agent_pos[rows], tasks)
        return shown if row is None else shown | {"task": tasks[row]}


def _known_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """An autoreset mode, or the one of this name.

    Raises:
        UsageError: there is none.
    """
    if isinstance(mode, AutoresetMode):
        return mode
    for known in AutoresetMode:
        if mode in (known.value, known.name):
            return known
    raise UsageError(
        f"autoreset_mode {mode!r} is unknown; known: {[m.name for m in AutoresetMode]}"
    )


def _masked(info: dict[str, NDArray[Any]], mask: Bool) -> Info:
    """Gymnasium's vector info: each array beside the mask of envs that it speaks of."""
    return dict(info) | {f"_{name}": mask.copy() for name in info}
