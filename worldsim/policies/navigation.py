"""Scripted navigation: the expert that follows shortest paths, spoiled by dials, and an explorer.

The expert reads the simulator's state. It is for recording, for imitation, and as a reference; a
ranking's policies see images and instructions alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.config.limits import Count, Share, Weight, Whole
from worldsim.config.values import check_arguments
from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.policies.base import POLICIES, EnvMemory, EnvStreams, FloatArray
from worldsim.policies.scripted.privileged import state_source
from worldsim.spec import ActionKind, ActionSpec, VectorSpec, WorldSpec

STATE = (
    *("goal_x", "goal_y", "waypoint_x", "waypoint_y", "goal_distance", "goal_reached"),
    *("goal_clear", "goal_seen"),
)
"""Entries of the simulator's state that the expert reads."""
_POSE = ("agent_x", "agent_y", "agent_cos", "agent_sin")
_MOVES = ("forward", "turn_left", "turn_right")
_THERE = 0.12
"""Metres of shortest path at which there is no nearer place to stop."""
_LEAST = 0.2
"""Least share of a continuous step."""
_ASIDE = 4
"""Turns with which somebody who does not stop goes on."""
_BLOCKED = 0.3
"""Share of a step below which an explorer takes it for blocked."""


class Steering:
    """Turns a bearing into an action, discrete or continuous.

    Raises:
        UsageError: the world's actions are not those of an agent that walks.
    """

    def __init__(self, spec: WorldSpec, name: str) -> None:
        self.action = spec.action
        self._discrete = spec.action.kind == "discrete"
        wanted = ("stop", *_MOVES) if self._discrete else ("forward", "turn")
        pose = spec.agent_pos.indices(*_POSE)
        if not set(wanted) <= set(spec.action.names) or pose is None:
            raise UsageError(
                f"policy {name!r} walks with actions {wanted} and proprioception {_POSE}; the "
                f"world has {spec.action.names} and {spec.agent_pos.names}"
            )
        self._pose = list(pose)
        scale = dict(zip(spec.action.names, spec.action.scale, strict=True))
        self.step = scale["forward"]
        self._turn = scale["turn_left" if self._discrete else "turn"]

    def pose(self, agent_pos: FloatArray) -> tuple[float, float, float]:
        """x, y and heading of an agent `[P]`."""
        x, y, cos, sin = np.asarray(agent_pos, np.float64)[self._pose]
        return float(x), float(y), float(np.arctan2(sin, cos))

    def named(self, name: str) -> FloatArray:
        """The action `[A]` of a whole move: stop, forward, turn_left or turn_right."""
        if self._discrete:
            chosen = self.action.names.index(name)
            return np.asarray(np.eye(self.action.dim, dtype=np.float32)[chosen])
        forward = float(name == "forward")
        turn = {"turn_left": 1.0, "turn_right": -1.0}.get(name, 0.0)
        return np.array([forward, turn], np.float32)

    def faces(self, off: float) -> bool:
        """Whether no turn would bring a bearing `off` radians to the left closer to ahead."""
        return abs(off) <= self._turn / 2 + 1e-3 if self._discrete else abs(off) < np.deg2rad(10)

    def toward(self, off: float, metres: float) -> FloatArray:
        """The action `[A]` that makes for what lies `off` radians to the left, `metres` away."""
        if self._discrete:
            if self.faces(off):
                return self.named("forward")
            return self.named("turn_left" if off > 0 else "turn_right")
        turn = float(np.clip(off / self._turn, -1, 1))
        # Never so little of either that it would be to stop.
        ahead = float(np.clip(metres / self.step, _LEAST, 1.0)) if abs(off) < self._turn else 0.0
        return np.array([ahead, turn], np.float32)

    def turn_to(self, off: float) -> FloatArray:
        """The action `[A]` that only turns; to stop where it already faces there."""
        if self.faces(off):
            return self.named("stop")
        if self._discrete:
            return self.named("turn_left" if off > 0 else "turn_right")
        return np.array([0.0, np.clip(off / self._turn, -1, 1)], np.float32)


@dataclass
class _Trip:
    """One episode of the expert: steps since it first could stop, and a detour's rest."""

    overrun: int = 0
    detour: int = 0
    move: str = "forward"


@POLICIES.register("geodesic")
class GeodesicPolicy:
    """Follows the shortest path to the goal, faces it and stops.

    Args:
        spec: world it acts in; its state names the goal and the next place of the path.
        name: shown in rankings.
        early_stop: metres before the goal at which it stops already; 0: where the goal is met.
        late_stop: steps that it goes on, aside and away, from where it could have stopped.
        detours: chance that a step begins a detour, a random move for some steps.
        detour_steps: most steps of a detour.
    """

    action_kinds: tuple[ActionKind, ...] = ("box", "discrete")

    def __init__(
        self,
        spec: WorldSpec,
        name: str = "geodesic",
        early_stop: Weight = 0.0,
        late_stop: Whole = 0,
        detours: Share = 0.0,
        detour_steps: Count = 6,
    ) -> None:
        dials = {"early_stop": early_stop, "late_stop": late_stop, "detours": detours}
        check_arguments(GeodesicPolicy, {**dials, "detour_steps": detour_steps}, name)
        self.name, self.n_action_steps = name, 1
        self._steering = Steering(spec, name)
        self._state = state_source(spec, name, STATE, None, "")
        self._early, self._late = early_stop, int(late_stop)
        self._detours, self._longest = detours, int(detour_steps)
        self._streams = EnvStreams()
        self._trips: EnvMemory[_Trip] = EnvMemory()

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Begin trips in `env_ids`."""
        self._streams.reset(env_ids, seed)
        self._trips.update((int(i), _Trip()) for i in env_ids)

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop the trips of `env_ids`."""
        self._streams.forget(env_ids)
        self._trips.forget(env_ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, 1, A]`.

        Raises:
            UsageError: the observation has no simulator's state.
        """
        states = self._state(observation)
        rows = zip(map(int, env_ids), observation["agent_pos"], states, strict=True)
        return np.stack([self._act(*row) for row in rows])[:, None]

    def _act(self, env_id: int, agent_pos: FloatArray, state: FloatArray) -> FloatArray:
        trip, stream = self._trips[env_id], self._streams[env_id]
        if trip.detour > 0:
            trip.detour -= 1
            return self._steering.named(trip.move)
        if self._detours and stream.uniform() < self._detours:
            trip.detour = int(stream.integers(self._longest))
            trip.move = _MOVES[int(stream.integers(len(_MOVES)))]
            return self._steering.named(trip.move)
        goal_x, goal_y, way_x, way_y, away, reached, clear, seen = map(float, state)
        x, y, yaw = self._steering.pose(agent_pos)
        to_goal = _wrapped(np.arctan2(goal_y - y, goal_x - x) - yaw)
        done = bool(reached and clear) or 0 <= away < _THERE
        if self._early and 0 <= away < self._early:
            return self._steering.named("stop")
        if done and not self._late:
            return self._steering.named("stop") if seen else self._steering.turn_to(to_goal)
        if done or trip.overrun:
            return self._overrun(trip, stream)
        along = np.hypot(way_x - x, way_y - y)
        return self._steering.toward(_wrapped(np.arctan2(way_y - y, way_x - x) - yaw), float(along))

    def _overrun(self, trip: _Trip, stream: np.random.Generator) -> FloatArray:
        """A step past the place to stop: aside first, then on; then to stop, wherever that is."""
        if not trip.overrun:
            trip.move = "turn_left" if stream.uniform() < 0.5 else "turn_right"
        trip.overrun += 1
        if trip.overrun > self._late:
            return self._steering.named("stop")
        return self._steering.named(trip.move if trip.overrun <= _ASIDE else "forward")


@dataclass
class _Wander:
    """An explorer's way: where it was, turns left to make, and to which side; steps made."""

    place: tuple[float, float] | None = None
    turns: int = 0
    move: str = "turn_left"
    steps: int = 0


@POLICIES.register("forward")
class ForwardPolicy:
    """Walks straight on; turns by a random amount where it is blocked, and at random.

    It reads proprioception alone.

    Args:
        spec: world it acts in.
        name: shown in rankings.
        turning: chance that a step begins a turn although the way is free.
        stop_after: steps after which it stops; 0: never.
        most_turns: most actions of a turn.
    """

    action_kinds: tuple[ActionKind, ...] = ("box", "discrete")

    def __init__(
        self,
        spec: WorldSpec,
        name: str = "forward",
        turning: Share = 0.0,
        stop_after: Whole = 0,
        most_turns: Count = 6,
    ) -> None:
        given = {"turning": turning, "stop_after": stop_after, "most_turns": most_turns}
        check_arguments(ForwardPolicy, given, name)
        self.name, self.n_action_steps = name, 1
        self._steering = Steering(spec, name)
        self._turning, self._stop, self._most = turning, int(stop_after), int(most_turns)
        self._streams = EnvStreams()
        self._ways: EnvMemory[_Wander] = EnvMemory()

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Begin anew in `env_ids`."""
        self._streams.reset(env_ids, seed)
        self._ways.update((int(i), _Wander()) for i in env_ids)

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop what is kept of `env_ids`."""
        self._streams.forget(env_ids)
        self._ways.forget(env_ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, 1, A]`."""
        rows = zip(map(int, env_ids), observation["agent_pos"], strict=True)
        return np.stack([self._act(*row) for row in rows])[:, None]

    def _act(self, env_id: int, agent_pos: FloatArray) -> FloatArray:
        way, stream = self._ways[env_id], self._streams[env_id]
        way.steps += 1
        if self._stop and way.steps > self._stop:
            return self._steering.named("stop")
        x, y, _ = self._steering.pose(agent_pos)
        before, way.place = way.place, None
        blocked = before is not None and np.hypot(x - before[0], y - before[1]) < (
            _BLOCKED * self._steering.step
        )
        if way.turns == 0 and (blocked or stream.uniform() < self._turning):
            way.turns = int(stream.integers(1, self._most + 1))
            way.move = "turn_left" if stream.uniform() < 0.5 else "turn_right"
        if way.turns > 0:
            way.turns -= 1
            return self._steering.named(way.move)
        way.place = (x, y)
        return self._steering.named("forward")


def walks(action: ActionSpec, state: VectorSpec) -> bool:
    """Whether the expert knows its way in a world of these."""
    names = set(action.names)
    return set(STATE) <= set(state.names) and ("turn" in names or set(_MOVES) <= names)


def _wrapped(angle: float) -> float:
    return float(np.angle(np.exp(1j * angle)))
