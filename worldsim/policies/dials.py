"""Dials that spoil what any policy does: noise, a constant error, delay, slowness, inertia.

A pool of one expert and its spoiled copies has known differences. Policies with dials of their
own, such as `scripted`, keep those of the same name.

Legend: N envs, K actions of a chunk, A action.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from inspect import signature
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from worldsim.config.limits import Fraction, Weight, Whole, at_most, more_than
from worldsim.config.values import Checked
from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.policies.base import EnvMemory, EnvStreams, FloatArray, Policy
from worldsim.policies.simple import ZeroPolicy, held_columns
from worldsim.spec import WorldSpec

Speed = Annotated[float, more_than(0), at_most(1)]

_GRIP = "grip"
"""In the name of a dimension that closes fingers; only delay and inertia concern it."""


@dataclass(frozen=True)
class Dials(Checked):
    """What is wrong with a policy, in units of its normalised action.

    Attributes:
        noise: standard deviation added to motions; of a choice, the chance of a random one.
        noise_correlation: of the noise from step to step, in [0, 1); 0 is white.
        offset: length of a constant error of the motions, in a direction drawn for each episode.
        lag: steps by which actions come late; the robot rests until then.
        speed: factor on motions, up to 1; where actions are places, on the way to them.
        smoothing: share of the last action in the next, in [0, 1).
    """

    noise: Weight = 0.0
    noise_correlation: Fraction = 0.0
    offset: Weight = 0.0
    lag: Whole = 0
    speed: Speed = 1.0
    smoothing: Fraction = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "lag", int(self.lag))  # one that was drawn is no int

    @property
    def turned(self) -> bool:
        """Whether anything is wrong at all."""
        return self != Dials(noise_correlation=self.noise_correlation)


@dataclass
class ActionMemory:
    """What the dials carry from step to step of one episode.

    Attributes:
        noise: of unit variance, one for each motion.
        waiting: actions that come late.
        last: the last smoothed action.
    """

    noise: NDArray[np.float32]
    waiting: deque[FloatArray] = field(default_factory=deque)
    last: FloatArray | None = None

    def smoothed(self, action: FloatArray, share: float) -> FloatArray:
        """An action `[A]` that keeps a share of the last one."""
        last = action if self.last is None else self.last
        self.last = np.float32(1.0 - share) * action + np.float32(share) * last
        return self.last

    def delayed(self, action: FloatArray) -> FloatArray:
        """The action that is due now that another one came."""
        self.waiting.append(action)
        return self.waiting.popleft()

    def advance_noise(self, stream: np.random.Generator, correlation: float) -> None:
        """One step of an Ornstein-Uhlenbeck process of unit variance."""
        fresh = np.sqrt(1.0 - correlation**2)
        draw = stream.standard_normal(len(self.noise)).astype(np.float32)
        self.noise = np.float32(correlation) * self.noise + np.float32(fresh) * draw


@dataclass
class _Spoiled(ActionMemory):
    """One episode of a spoiled policy: its constant error, too, and where it began."""

    offset: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))


class DialledPolicy:
    """A policy, spoiled by as much as the dials say.

    Args:
        policy: whose actions are spoiled.
        spec: world it acts in.
        dials: by how much.

    Raises:
        UsageError: a dial has no meaning for choices.
    """

    def __init__(self, policy: Policy, spec: WorldSpec, dials: Dials) -> None:
        self.name, self.n_action_steps = policy.name, policy.n_action_steps
        self.action_kinds = getattr(policy, "action_kinds", ("box",))
        self.privileged = getattr(policy, "privileged", False)
        self.errand = getattr(policy, "errand", "asked")
        self._policy, self._action, self._dials = policy, spec.action, dials
        moving = [i for i, name in enumerate(spec.action.names) if _GRIP not in name]
        self._moving = np.asarray(moving, np.int64)
        self._columns = held_columns(spec)
        self._streams = EnvStreams()
        self._episodes: EnvMemory[_Spoiled] = EnvMemory()
        self._rest = ZeroPolicy(spec)
        discrete = spec.action.kind == "discrete"
        if discrete and (dials.offset or dials.smoothing or dials.speed != 1.0):
            raise UsageError(
                f"policy {self.name!r}: its actions are choices, which take the dials noise and lag"
            )

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Begin episodes of the policy in `env_ids`, and draw their errors anew."""
        self._policy.reset(env_ids, seed)
        self._streams.reset(env_ids, seed)
        self._rest.reset(env_ids, seed)
        for env_id in map(int, env_ids):
            stream = self._streams[env_id]
            noise = stream.standard_normal(len(self._moving)).astype(np.float32)
            direction = stream.standard_normal(len(self._moving))
            direction *= self._dials.offset / max(float(np.linalg.norm(direction)), 1e-9)
            self._episodes[env_id] = _Spoiled(noise, offset=direction.astype(np.float32))

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop the episodes of `env_ids`."""
        for one in (self._policy, self._streams, self._rest, self._episodes):
            if hasattr(one, "forget"):
                one.forget(env_ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, K, A]`: the policy's chunk, spoiled action by action."""
        chunk = np.array(self._policy.act(observation, env_ids), np.float32)
        here = self._here(observation, env_ids)
        for row, env_id in enumerate(map(int, env_ids)):
            episode, stream = self._episodes[env_id], self._streams[env_id]
            if not episode.waiting:
                episode.waiting.extend(here[row] for _ in range(self._dials.lag))
            # What follows the executed part of a chunk is never acted on.
            for step in range(min(self.n_action_steps, chunk.shape[1])):
                chunk[row, step] = self._spoil(chunk[row, step], here[row], episode, stream)
        return chunk

    def _here(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """Actions `[N, A]` that leave the robot where it is, as far as that is known."""
        if self._action.kind == "discrete":
            return np.repeat(self._action.nearest_to_zero[None], len(env_ids), axis=0)
        if self._columns is None:
            return self._rest.act(observation, env_ids)[:, 0]
        poses = np.asarray(observation["agent_pos"], np.float32)[:, self._columns]
        return self._action.clip(poses / np.asarray(self._action.scale, np.float32))

    def _spoil(
        self,
        action: FloatArray,
        here: FloatArray,
        episode: _Spoiled,
        stream: np.random.Generator,
    ) -> FloatArray:
        dials, moving = self._dials, self._moving
        if self._action.kind == "discrete":
            if stream.uniform() < dials.noise:
                action = np.eye(len(action), dtype=np.float32)[stream.integers(len(action))]
            return episode.delayed(action)
        rest = here[moving]
        action[moving] = rest + np.float32(dials.speed) * (action[moving] - rest)
        action[moving] += episode.offset + np.float32(dials.noise) * episode.noise
        episode.advance_noise(stream, dials.noise_correlation)
        action = self._action.clip(action)
        if dials.smoothing:
            action = episode.smoothed(action, dials.smoothing)
        return episode.delayed(action)


DIALS = frozenset(each.name for each in fields(Dials))


def split_dials(
    make: Callable[..., Any], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options that a policy takes itself, and those that are dials of any policy."""
    own = signature(make).parameters
    dials = {key: value for key, value in options.items() if key in DIALS and key not in own}
    return {key: value for key, value in options.items() if key not in dials}, dials


def dialled(policy: Policy, spec: WorldSpec, dials: Mapping[str, Any]) -> Policy:
    """The policy as it is, or spoiled where a dial is turned.

    Raises:
        UsageError: a dial is outside its limits, or has no meaning for this action.
    """
    turned = Dials(**dials)
    return DialledPolicy(policy, spec, turned) if turned.turned else policy
