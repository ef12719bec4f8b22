"""Records one episode of a policy in an environment."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.channels import recorded_channels
from worldsim.data.episode import Episode, EpisodeMeta
from worldsim.errors import DataError, UsageError
from worldsim.policies.base import Policy
from worldsim.spec import WorldSpec

Film = Callable[[Mapping[str, NDArray[np.uint8]]], None]
"""Takes the frames of one observation, {camera: uint8 [H, W, 3]}."""


class EpisodeTape:
    """Collects observations and actions; the reset frame is row 0.

    Args:
        spec: the world.
        film: takes the frames as they come; without it they are kept in memory.
    """

    def __init__(self, spec: WorldSpec, film: Film | None = None) -> None:
        self.spec = spec
        self.frames: dict[str, list[NDArray[np.uint8]]] = {}
        self.film = film or self._keep
        self.arrays: dict[str, list[NDArray[Any]]] = {}

    def observe(self, observation: dict[str, Any], reward: float, info: dict[str, Any]) -> None:
        """Append an observation (copied: envs may reuse their buffers)."""
        self.film({camera: observation["pixels"][camera] for camera in self.spec.camera_names})
        self._take("frame", {**info, **observation, "reward": reward})

    def act(self, action: NDArray[np.float32], info: dict[str, Any]) -> None:
        """Append the action taken at the last observation and what the robot made of it."""
        achieved = info.get("action_achieved")
        both = {"action": action, "action_achieved": action if achieved is None else achieved}
        self._take("action", both)

    def _take(self, per: str, source: Mapping[str, Any]) -> None:
        """Append what `source` has of the channels that are recorded per frame or action.

        Raises:
            DataError: one is not there, or is of another shape.
        """
        for channel, shape in recorded_channels(self.spec):
            if channel.per != per:
                continue
            if channel.name not in source:
                raise DataError(
                    f"the world says that {channel.name!r} is recorded, but the environment gives "
                    f"none; put {channel.name!r} of shape {shape} into info of reset and step"
                )
            value = np.array(source[channel.name], channel.dtype)
            value = value.reshape(shape) if value.size == 0 else value
            self.arrays.setdefault(channel.name, []).append(value)

    def _keep(self, frames: Mapping[str, NDArray[np.uint8]]) -> None:
        for camera, frame in frames.items():
            self.frames.setdefault(camera, []).append(np.array(frame))

    def episode(self, task: str, meta: EpisodeMeta) -> Episode:
        """Everything recorded so far, without the frames where a film took them."""
        arrays = {name: np.stack(rows) for name, rows in self.arrays.items()}
        pixels = {camera: np.stack(frames) for camera, frames in self.frames.items()}
        return Episode.of(arrays, pixels, task, meta)


def record_episode(
    env: Any,
    policy: Policy,
    env_id: str,
    seed: int,
    policy_seed: int,
    behaviour: str = "",
    options: dict[str, Any] | None = None,
    max_steps: int | None = None,
    steps_after_success: int = 0,
    film: Film | None = None,
) -> Episode:
    """Run `policy` in `env` for one episode.

    The policy also finds the simulator's privileged state under `observation["state"]`.

    Args:
        env: an environment of `worldsim.envs`.
        policy: acts on a batch of one; it is reset as env 0.
        env_id: stored with the episode.
        seed: given to `env.reset`.
        policy_seed: given to `policy.reset`.
        behaviour: stored with the episode.
        options: reset options, such as {"factors": {...}}.
        max_steps: most actions, besides the env's own limit.
        steps_after_success: actions recorded beyond the env's termination by success, so that
            what follows success is in the data too.
        film: takes the frames as they come, so that memory does not grow with the episode; the
            one returned then holds none.

    Raises:
        DataError: the policy raised, or returned something that is no action.
    """
    observation, info = env.reset(seed=seed, options=options)
    state = env.unwrapped.get_state()
    policy.reset([0], policy_seed)
    tape = EpisodeTape(env.unwrapped.spec_world, film)
    tape.observe(observation, 0.0, info)
    _act_out(env, policy, tape, observation, info, max_steps, steps_after_success)
    meta = EpisodeMeta(
        env_id=env_id,
        seed=seed,
        policy=policy.name,
        success=any(map(bool, tape.arrays["success"])),
        factors=state.get("factors") or {},
        initial_state=tuple(map(float, np.ravel(state["physics"]))),
        rig=env.unwrapped.camera_rig,
        behaviour=behaviour,
    )
    return tape.episode(str(observation["task"]), meta)


def _act_out(
    env: Any,
    policy: Policy,
    tape: EpisodeTape,
    observation: dict[str, Any],
    info: dict[str, Any],
    max_steps: int | None,
    steps_after_success: int,
) -> None:
    """Step `env` from its first observation to its end, or a little past success, onto `tape`."""
    spec, steps_left = tape.spec, np.inf if max_steps is None else max_steps
    queue = np.zeros((0, spec.action.dim), np.float32)
    solved = False
    while steps_left > 0:
        steps_left -= 1
        if not len(queue):
            queue = _ask(policy, spec, observation, info)
        action, queue = queue[0], queue[1:]
        # Past the end the env itself is stepped: wrappers may refuse to go on.
        step = env.unwrapped.step if solved else env.step
        command = spec.action.command(action)
        observation, reward, terminated, truncated, info = step(command)
        tape.act(action, info)
        tape.observe(observation, reward, info)
        if solved or not (terminated or truncated):
            continue
        if not (terminated and info["success"]):
            break
        solved, steps_left = True, min(steps_left, steps_after_success)


def _ask(
    policy: Policy, spec: WorldSpec, observation: dict[str, Any], info: dict[str, Any]
) -> NDArray[np.float32]:
    """The actions `[n_action_steps, A]` that the policy wants executed next."""
    batch = {
        "pixels": {c: observation["pixels"][c][None] for c in spec.camera_names},
        "agent_pos": np.asarray(observation["agent_pos"], np.float32)[None],
        "state": np.asarray(info["state"], np.float32)[None],
        "task": [observation["task"]],
    }
    try:
        chunk = np.asarray(policy.act(batch, [0]), np.float32)
    except Exception as error:
        raise DataError(f"policy {policy.name!r} raised {type(error).__name__}: {error}") from error
    if chunk.ndim != 3 or len(chunk) != 1 or chunk.shape[1] < policy.n_action_steps:
        raise DataError(
            f"policy {policy.name!r} returned actions of shape {chunk.shape}, expected "
            f"(1, K >= {policy.n_action_steps}, {spec.action.dim})"
        )
    try:
        return spec.action.check(chunk[0, : policy.n_action_steps], f"policy {policy.name!r}")
    except UsageError as error:
        raise DataError(str(error)) from error
