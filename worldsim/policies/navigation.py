"""Scripted navigation: the expert that follows shortest paths, spoiled by dials.

The expert reads the simulator's state. It is for recording, for imitation, and as a reference: a
ranking's policies see images and instructions alone. With `map` it is told in both worlds what
somebody who has the scene's map tells of where its odometry puts it, and is named privileged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from worldsim.config.limits import Count, Share, Weight, Whole
from worldsim.config.values import check_arguments
from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.policies.base import POLICIES, EpisodePolicy, FloatArray
from worldsim.policies.scripted.privileged import state_source
from worldsim.policies.steering import MOVES, Steering, wrapped
from worldsim.policies.wandering import Wander
from worldsim.spec import ActionKind, ActionSpec, VectorSpec, WorldSpec

STATE = (
    *("goal_x", "goal_y", "waypoint_x", "waypoint_y", "goal_distance", "goal_reached"),
    *("goal_clear", "goal_seen", "stages_left"),
)
"""Entries of the simulator's state that the expert reads."""
Errand = Literal["asked", "reversed", "repeated", "other"]
"""What it goes to: what is asked, that in the wrong order, the first thing again and again as
somebody without memory of what is done, or other things, as somebody who ignores the instruction.
"""
_THERE = 0.12
"""Metres of shortest path at which there is no nearer place to stop."""
_ASIDE = 4
"""Turns with which somebody who does not stop goes on."""
_TURNING, _MOST_TURNS = 0.08, 6
"""How somebody explores who does not know the way: chance of a turn, and its most actions."""


@dataclass
class _Trip:
    """One episode of the expert: steps since it first could stop, and a detour's rest.

    Attributes:
        overrun: steps since it first could have stopped.
        detour: steps that are left of a detour.
        move: of the detour.
        known: stage whose goal it has come to know of, None of none.
        way: how it explores until then.
    """

    overrun: int = 0
    detour: int = 0
    move: str = "forward"
    known: float | None = None
    way: Wander = field(default_factory=Wander)


@POLICIES.register("geodesic")
class GeodesicPolicy(EpisodePolicy[_Trip]):
    """Follows the shortest path to the goal, faces it and stops.

    Args:
        spec: world it acts in; its state names the goal and the next place of the path.
        name: shown in rankings.
        early_stop: metres before the goal at which it stops already; 0: where the goal is met.
        late_stop: steps that it goes on, aside and away, from where it could have stopped.
        detours: chance that a step begins a detour, a random move for some steps.
        detour_steps: most steps of a detour.
        sight: metres within which it knows of a goal, and only where nothing hides that; until
            then it explores. 0: it knows from the start.
        remembers: whether it goes on knowing of a goal that it no longer sees.
        errand: what it goes to; others than what is asked need `map`.
        map: whether it is told of the scene's map in rankings, in both worlds alike, which no
            robot has. Reports call it privileged.

    Raises:
        UsageError: an errand without the map, or a world without such a state or actions.
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
        sight: Weight = 0.0,
        remembers: bool = True,
        errand: Errand = "asked",
        map: bool = False,
    ) -> None:
        super().__init__()
        dials = {"early_stop": early_stop, "late_stop": late_stop, "detours": detours}
        dials |= {"detour_steps": detour_steps, "sight": sight}
        check_arguments(GeodesicPolicy, {**dials, "errand": errand}, name)
        if errand != "asked" and not map:
            raise UsageError(
                f"policy {name!r}: errand={errand} needs `map: true`; a simulator's state tells "
                "of the goals that are asked for alone"
            )
        self.name, self.n_action_steps = name, 1
        self.privileged, self.errand = map, errand
        self._steering = Steering(spec, name)
        self._state = state_source(spec, name, STATE, None, "")
        self._early, self._late = early_stop, int(late_stop)
        self._detours, self._longest = detours, int(detour_steps)
        self._sight, self._remembers = sight, remembers

    def _begin(self) -> _Trip:
        return _Trip()

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, 1, A]`.

        Raises:
            UsageError: the observation has no simulator's state.
        """
        states = self._state(observation)
        rows = zip(map(int, env_ids), observation["agent_pos"], states, strict=True)
        return np.stack([self._act(*row) for row in rows])[:, None]

    def _act(self, env_id: int, agent_pos: FloatArray, state: FloatArray) -> FloatArray:
        trip, stream = self._notes[env_id], self._streams[env_id]
        if trip.detour > 0:
            trip.detour -= 1
            return self._steering.named(trip.move)
        if self._detours and stream.uniform() < self._detours:
            trip.detour = int(stream.integers(self._longest))
            trip.move = MOVES[int(stream.integers(len(MOVES)))]
            return self._steering.named(trip.move)
        goal_x, goal_y, way_x, way_y, away, reached, clear, seen, stage = map(float, state)
        x, y, yaw = self._steering.pose(agent_pos)
        if not self._knows(trip, clear, float(np.hypot(goal_x - x, goal_y - y)), stage):
            return trip.way.step(self._steering, agent_pos, stream, _TURNING, _MOST_TURNS)
        to_goal = wrapped(np.arctan2(goal_y - y, goal_x - x) - yaw)
        done = bool(reached and clear) or 0 <= away < _THERE
        if self._early and 0 <= away < self._early:
            return self._steering.named("stop")
        if done and not self._late:
            return self._steering.named("stop") if seen else self._steering.turn_to(to_goal)
        if done or trip.overrun:
            return self._overrun(trip, stream)
        along = np.hypot(way_x - x, way_y - y)
        return self._steering.toward(wrapped(np.arctan2(way_y - y, way_x - x) - yaw), float(along))

    def _knows(self, trip: _Trip, clear: float, metres: float, stage: float) -> bool:
        """Whether it knows where the goal is."""
        if not self._sight:
            return True
        if clear and metres <= self._sight:
            trip.known = stage
            return True
        return self._remembers and trip.known == stage

    def _overrun(self, trip: _Trip, stream: np.random.Generator) -> FloatArray:
        """A step past the place to stop: aside first, then on; then to stop, wherever that is."""
        if not trip.overrun:
            trip.move = "turn_left" if stream.uniform() < 0.5 else "turn_right"
        trip.overrun += 1
        if trip.overrun > self._late:
            trip.overrun = 0  # of the next goal
            return self._steering.named("stop")
        return self._steering.named(trip.move if trip.overrun <= _ASIDE else "forward")


def walks(action: ActionSpec, state: VectorSpec) -> bool:
    """Whether the expert knows its way in a world of these."""
    names = set(action.names)
    return set(STATE) <= set(state.names) and ("turn" in names or set(MOVES) <= names)
