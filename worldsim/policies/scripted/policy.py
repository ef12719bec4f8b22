"""Scripted experts as policies, with dials that spoil them in known ways."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from worldsim.config.limits import Fraction, Share, Weight, Whole
from worldsim.config.values import check_arguments
from worldsim.conventions import Observation
from worldsim.policies.base import POLICIES, EnvMemory, EnvStreams, FloatArray
from worldsim.policies.checkpoints import CheckpointOrNone
from worldsim.policies.dials import ActionMemory, Speed
from worldsim.policies.scripted.controllers import OPEN
from worldsim.policies.scripted.lapses import Lapse
from worldsim.policies.scripted.privileged import Estimator, state_source
from worldsim.policies.scripted.tasks import controller_for
from worldsim.spec import EE_POSITION, WorldSpec

_GRIP = 4


@dataclass
class _EpisodeMemory(ActionMemory):
    """What one env's episode carries from step to step."""

    shift: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    lapse: Lapse = field(default_factory=Lapse)


@POLICIES.register("scripted")
class ScriptedPolicy:
    """The task's expert, spoiled by as much as the dials say.

    Args:
        spec: world it acts in; its state's names choose the controller.
        name: shown in rankings.
        task: name of the controller, to insist on one.
        noise: standard deviation added to the four motions, in units of action.
        noise_correlation: of the noise from step to step, in [0, 1); 0 is white.
        bias: metres by which it misjudges the plane position of each thing in the scene, in a
            direction drawn for each thing and episode.
        height: metres by which it takes its hand to be lower than it is, so that it stays above
            what it should touch.
        lag: steps by which actions come late; zeros come first.
        stuck_gripper: the gripper never closes.
        speed: factor on the motions, up to 1.
        lapses: chance that a step without a lapse begins one, see `lapses`.
        drops: chance that the fingers open in a step in which they should close or hold.
        smoothing: share of the last action in the next, in [0, 1): decisions come gradually, the
            grip's too, while the hand is still moving.
        estimator: from a batched observation to the state `[N, S]`.
        perception: checkpoint of a state estimator, instead of `estimator`. With neither, `act`
            reads the simulator's state from `observation["state"]`.
    """

    def __init__(
        self,
        spec: WorldSpec,
        name: str = "scripted",
        task: str = "",
        noise: Weight = 0.0,
        noise_correlation: Fraction = 0.0,
        bias: Weight = 0.0,
        height: Weight = 0.0,
        lag: Whole = 0,
        stuck_gripper: bool = False,
        speed: Speed = 1.0,
        lapses: Share = 0.0,
        drops: Share = 0.0,
        smoothing: Fraction = 0.0,
        estimator: Estimator | None = None,
        perception: CheckpointOrNone = "",
    ) -> None:
        dials = {
            "noise": noise,
            "noise_correlation": noise_correlation,
            "bias": bias,
            "height": height,
            "lag": lag,
            "speed": speed,
            "lapses": lapses,
            "drops": drops,
            "smoothing": smoothing,
        }
        check_arguments(ScriptedPolicy, dials, name)
        self.name = name
        self.n_action_steps = 1
        self._controller = controller_for(spec, task)
        self._state = state_source(spec, name, self._controller.state, estimator, perception)
        self._noise, self._correlation = noise, noise_correlation
        self._bias, self._lag = bias, lag
        self._stuck, self._speed = stuck_gripper, speed
        self._lapses, self._drops = lapses, drops
        self._height, self._smoothing = height, smoothing
        self._rise = spec.agent_pos.names.index(EE_POSITION[2])
        self._dim = spec.action.dim
        self._planes = _plane_positions(self._controller.state)
        self._streams = EnvStreams()
        self._episodes: EnvMemory[_EpisodeMemory] = EnvMemory()

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Forget the episodes of `env_ids` and draw their errors anew."""
        self._streams.reset(env_ids, seed)
        for env_id in map(int, env_ids):
            stream = self._streams[env_id]
            angles = stream.uniform(0.0, 2 * np.pi, len(self._planes))
            shift = np.zeros(len(self._controller.state), np.float32)
            for (x, y), angle in zip(self._planes, angles, strict=True):
                shift[[x, y]] = self._bias * np.cos(angle), self._bias * np.sin(angle)
            first = stream.standard_normal(_GRIP).astype(np.float32)
            waiting = deque(np.zeros(self._dim, np.float32) for _ in range(self._lag))
            self._episodes[env_id] = _EpisodeMemory(first, waiting, shift=shift)

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop the episodes of `env_ids`."""
        self._streams.forget(env_ids)
        self._episodes.forget(env_ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """Actions `[N, 1, A]`.

        Raises:
            UsageError: there is neither privileged state nor an estimator, or an env was not reset.
        """
        episodes = [self._episodes[i] for i in env_ids]
        shift = np.stack([episode.shift for episode in episodes])
        felt = np.array(observation["agent_pos"])
        felt[:, self._rise] -= self._height + np.array([e.lapse.height for e in episodes])
        action = self._controller.act(felt, self._state(observation) + shift)
        action[:, :_GRIP] *= self._speed
        if self._lapses or self._drops:
            self._err(action, episodes, env_ids)
        if self._noise:
            action[:, :_GRIP] += self._noise * np.stack([e.noise for e in episodes])
            for episode, env_id in zip(episodes, env_ids, strict=True):
                episode.advance_noise(self._streams[env_id], self._correlation)
        if self._stuck:
            action[:, _GRIP] = OPEN
        action = np.clip(action, -1.0, 1.0)
        if self._smoothing:
            pairs = zip(episodes, action, strict=True)
            action = np.stack([e.smoothed(a, self._smoothing) for e, a in pairs])
        if self._lag:
            action = np.stack([e.delayed(a) for e, a in zip(episodes, action, strict=True)])
        return action[:, None]

    def _err(
        self, action: FloatArray, episodes: list[_EpisodeMemory], env_ids: Sequence[int]
    ) -> None:
        """Put lapses into actions `[N, A]`, and move them on."""
        for row, (episode, env_id) in enumerate(zip(episodes, env_ids, strict=True)):
            stream = self._streams[env_id]
            lapse = episode.lapse.next(stream, self._lapses)
            if self._drops:
                lapse = lapse.let_go(stream, self._drops, closing=action[row, _GRIP] < 0)
            action[row, :_GRIP] *= lapse.speed
            if lapse.grip is not None:
                action[row, _GRIP] = lapse.grip
            episode.lapse = lapse


def _plane_positions(names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Index pairs of the x and y of each thing the state locates."""
    things = [name.removesuffix("_x") for name in names if name.endswith("_x")]
    return [(names.index(f"{thing}_x"), names.index(f"{thing}_y")) for thing in things]
