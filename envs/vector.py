"""Vector env over processes that each hold several simulator envs.

gymnasium's own AsyncVectorEnv starts a process for each env, which two cores cannot carry at
sixty-four envs.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from worldsim.envs.registration import registration_of
from worldsim.envs.vector_link import SharedObservations, WorkerHandle, memory_size, open_memory
from worldsim.envs.vector_worker import Reset, Row
from worldsim.errors import UsageError, WorldsimError, unknown_name
from worldsim.spec import WorldSpec

Flags = NDArray[np.bool_]
Step = tuple[dict[str, Any], NDArray[np.float64], Flags, Flags, dict[str, Any]]


def make_vector(
    env_id: str,
    num_envs: int,
    num_workers: int | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    copy: bool = True,
    **kwargs: Any,
) -> "ProcessVectorEnv":
    """Make `num_envs` envs in processes.

    Args:
        env_id: as `worldsim.envs.make` takes it.
        num_envs: N.
        num_workers: processes; None: one for each core, at most N.
        autoreset_mode: gymnasium's "NextStep", "SameStep" or "Disabled" (or the member's name).
            With Disabled, ended envs stay frozen until reset with `options["reset_mask"]`.
        copy: give observation arrays of the caller's own; without, the next step overwrites them.
        kwargs: passed to the env's constructor.

    Raises:
        UsageError: unknown id or mode, a count below 1, or arguments that the env refuses.
    """
    if num_envs < 1:
        raise UsageError(f"num_envs is {num_envs}; it must be at least 1")
    workers = min(num_envs, num_workers if num_workers is not None else os.cpu_count() or 1)
    if workers < 1:
        raise UsageError(f"num_workers is {num_workers}; it must be at least 1")
    return ProcessVectorEnv(env_id, num_envs, workers, _mode(autoreset_mode), copy, kwargs)


class ProcessVectorEnv(VectorEnv[dict[str, Any], Any, Any]):
    """N envs in processes, with gymnasium's vector interface; made by `make_vector`.

    Observations: `pixels` {camera: uint8 [N, H, W, 3]}, `agent_pos` [N, P], `task` tuple of N.
    Infos are batched as gymnasium does: `state` [N, S] with mask `_state` [N], and so on.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        num_workers: int,
        autoreset_mode: AutoresetMode,
        copy: bool,
        kwargs: dict[str, Any],
    ) -> None:
        self._workers: list[WorkerHandle] = []
        self.num_envs, self.env_id = num_envs, env_id
        self._mode, self._copy = autoreset_mode, copy
        self._rests: list[Any] = [None] * num_envs
        memory = open_memory()
        try:
            bounds = np.linspace(0, num_envs, num_workers + 1).round().astype(int).tolist()
            for first, last in zip(bounds[:-1], bounds[1:], strict=True):
                setup = {
                    "env_id": env_id,
                    "kwargs": kwargs,
                    "registration": registration_of(env_id, kwargs),
                    "first": first,
                    "count": last - first,
                    "autoreset_mode": autoreset_mode.value,
                    "path": sys.path,
                }
                self._workers.append(WorkerHandle(setup, memory))
            self._adopt(self._collect()[0], memory)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(memory)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reset all envs, or some.

        Args:
            seed: one for each env; a single number s means s, s+1, ...
            options: given to every env, except `reset_mask` (bool [N]: reset only these) and
                `each` (N dicts: options of each env beside the common ones, such as
                `initial_state`).

        Raises:
            UsageError: seeds, mask or options do not fit N, or an env refuses them.
        """
        requests = self._requests(seed, dict(options or {}))
        for worker in self._workers:
            worker.send("reset", requests[worker.first : worker.last])
        return self._batch(self._collect_rows())[::4]

    def step_async(self, actions: Any) -> None:
        """Begin a step; `step_wait` ends it, and other work may go between.

        Raises:
            UsageError: the number of actions is not N.
        """
        if len(actions) != self.num_envs:
            raise UsageError(f"got {len(actions)} actions for {self.num_envs} envs")
        rows = list(iterate(self.action_space, actions))
        for worker in self._workers:
            worker.send("step", rows[worker.first : worker.last])

    def step_wait(self) -> Step:
        """The result of `step_async`."""
        return self._batch(self._collect_rows())

    def step(self, actions: Any) -> Step:
        """Step every env with its action `[N, A]`."""
        self.step_async(actions)
        return self.step_wait()

    def call(self, name: str, *args: Any) -> tuple[Any, ...]:
        """Each env's attribute `name`, called with `args` if it is callable."""
        return self.call_each(name, [args] * self.num_envs)

    def call_each(self, name: str, arguments: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """As `call`, with arguments of its own for each of the N envs.

        `call_each("set_state", [(state,) for state in states])` restores N states.
        """
        if len(arguments) != self.num_envs:
            raise UsageError(f"got {len(arguments)} argument tuples for {self.num_envs} envs")
        for worker in self._workers:
            worker.send("call", (name, list(arguments[worker.first : worker.last])))
        return tuple(result for results in self._collect() for result in results)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Each env's attribute `name`, such as `camera_rig`."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set each env's attribute; `values` holds N of them, or one for all."""
        each = list(values) if isinstance(values, list | tuple) else [values] * self.num_envs
        if len(each) != self.num_envs:
            raise UsageError(f"got {len(each)} values of {name!r} for {self.num_envs} envs")
        for worker in self._workers:
            worker.send("set_attr", (name, each[worker.first : worker.last]))
        self._collect()

    def render(self) -> tuple[Any, ...]:
        """Each env's `render()`."""
        return self.call("render")

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

    def close_extras(self, **kwargs: Any) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def _adopt(self, description: dict[str, Any], memory: int) -> None:
        """Take over the envs' spaces and facts, and share memory with the workers."""
        self.single_observation_space = description["observation_space"]
        self.single_action_space = description["action_space"]
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        attributes = description["attributes"]
        self.metadata = {**attributes.get("metadata", {}), "autoreset_mode": self._mode}
        self.spec_world: WorldSpec | None = attributes.get("spec_world")
        self.max_episode_steps: int | None = attributes.get("max_episode_steps")
        os.ftruncate(memory, memory_size(self.single_observation_space, self.num_envs))
        self._observations = SharedObservations(
            self.single_observation_space, self.num_envs, memory
        )
        for worker in self._workers:
            worker.send("attach", self.num_envs)
        self._collect()

    def _requests(self, seed: Any, options: dict[str, Any]) -> list[Reset | None]:
        seeds = _seeds(seed, self.num_envs)
        mask = options.pop("reset_mask", None)
        mask = np.ones(self.num_envs, bool) if mask is None else np.asarray(mask)
        each = options.pop("each", [{}] * self.num_envs)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise UsageError(f"reset_mask must be bool [{self.num_envs}], got {mask!r}")
        if len(each) != self.num_envs:
            raise UsageError(f"options['each'] holds {len(each)} dicts for {self.num_envs} envs")
        return [
            (seeds[i], {**options, **each[i]}) if mask[i] else None for i in range(self.num_envs)
        ]

    def _collect(self) -> list[Any]:
        """One answer of every worker; an error is raised only after all have answered."""
        answers = [worker.receive() for worker in self._workers]
        for answer in answers:
            if isinstance(answer, WorldsimError):
                raise answer
        return answers

    def _collect_rows(self) -> list[Row]:
        rows: list[Row] = [row for chunk in self._collect() for row in chunk]
        self._rests = [row.observation for row in rows]
        return rows

    def _batch(self, rows: list[Row]) -> Step:
        infos: dict[str, Any] = {}
        for index, row in enumerate(rows):
            infos = self._add_info(infos, row.info, index)
        return (
            self._observations.gather(self._rests, self._copy),
            np.array([row.reward for row in rows]),
            np.array([row.terminated for row in rows]),
            np.array([row.truncated for row in rows]),
            infos,
        )


def _mode(mode: str | AutoresetMode) -> AutoresetMode:
    if isinstance(mode, AutoresetMode):
        return mode
    names = {name: m for m in AutoresetMode for name in (m.value, m.name, m.name.lower())}
    if mode not in names:
        raise unknown_name("autoreset mode", mode, [m.value for m in AutoresetMode])
    return names[mode]


def _seeds(seed: Any, count: int) -> list[int | None]:
    if seed is None:
        return [None] * count
    if isinstance(seed, int | np.integer):
        return [int(seed) + i for i in range(count)]
    if len(seed) != count:
        raise UsageError(f"got {len(seed)} seeds for {count} envs")
    return [None if s is None else int(s) for s in seed]
