"""Play: smooth aimless motion with many contacts, for data that shows what failing looks like."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.config.limits import Share
from worldsim.config.values import check_arguments
from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.policies.base import POLICIES, EpisodePolicy, FloatArray
from worldsim.policies.scripted.controllers import CLOSED, Hand
from worldsim.policies.scripted.tasks import controller_for
from worldsim.spec import WorldSpec

_STEP_METRES, _STEP_RADIANS = 0.03, 0.2
_HALF_SIDE = 0.15
_HEIGHTS = (0.016, 0.13)
_LOW = (0.016, 0.05)
_ARRIVED = 0.012
_PATIENCE = (4, 14)
"""Steps after which a place not reached is given up."""
_FUMBLE_RISE, _FUMBLE_ASIDE, _FUMBLE_PATIENCE = (-0.01, 0.05), 0.015, (2, 9)
_WORK_PATIENCE = (8, 40)
_HOLD_ON = 0.7
"""Chance that the fingers stay closed on the way to the place after an errand of work."""
_SMOOTHING = 0.6
_JITTER = 0.12

Array = NDArray[np.float64]


@dataclass
class _Errand:
    """Where the hand is heading, how fast, with which grip, and for how many steps more.

    While `working`, the task's expert says where instead.
    """

    place: Array
    yaw: float
    grip: float
    speed: float
    steps: int
    action: Array
    working: bool = False

    def over(self, hand: Array) -> bool:
        """Whether its time is up or the hand has arrived."""
        arrived = not self.working and np.linalg.norm(self.place - hand) < _ARRIVED
        return self.steps <= 0 or bool(arrived)


@POLICIES.register("play")
class PlayPolicy(EpisodePolicy[_Errand | None]):
    """Wanders between random places, objects and beyond them, gripping at random.

    It heads for objects where the observation carries the simulator's `state`, else anywhere.

    Args:
        spec: world it acts in.
        name: shown in rankings.
        contact: share of errands that lead to or through an object.
        fumbling: share of errands that stay at an object, with fingers anywhere from open to shut.
        carrying: share of errands in which the task's expert acts for a while; where it held
            something, that is then mostly carried elsewhere.
    """

    def __init__(
        self,
        spec: WorldSpec,
        name: str = "play",
        contact: Share = 0.65,
        fumbling: Share = 0.0,
        carrying: Share = 0.0,
    ) -> None:
        super().__init__()
        shares = {"contact": contact, "fumbling": fumbling, "carrying": carrying}
        check_arguments(PlayPolicy, shares, name)
        if spec.action.names[:5] != ("dx", "dy", "dz", "dyaw", "grip"):
            raise UsageError(
                f"policy {name!r} plays with actions (dx, dy, dz, dyaw, grip), "
                f"the world takes {spec.action.names}"
            )
        self.name = name
        self.n_action_steps = 1
        self._contact, self._fumbling, self._carrying = contact, fumbling, carrying
        self._expert = controller_for(spec) if carrying else None
        names = spec.state.names
        first = next((n.removesuffix("_x") for n in names if n.endswith("_x")), "")
        self._thing = spec.state.indices(f"{first}_x", f"{first}_y", f"{first}_z")
        self._read = None if self._expert is None else spec.state.indices(*self._expert.state)

    def _begin(self) -> None:
        return None

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """Actions `[N, 1, A]`."""
        hand = Hand.from_agent_pos(observation["agent_pos"])
        state = observation.get("state")
        actions = np.empty((len(env_ids), 1, 5), np.float32)
        for row, env_id in enumerate(map(int, env_ids)):
            thing = None
            if state is not None and self._thing is not None:
                thing = np.asarray(state[row], np.float64)[list(self._thing)]
            place, yaw = hand.position[row], float(hand.yaw[row])
            errand = self._next_errand(env_id, place, thing)
            if errand.working and state is not None:
                actions[row, 0] = self._work(errand, observation["agent_pos"][row], state[row])
            else:
                actions[row, 0] = self._follow(errand, place, yaw, self._streams[env_id])
        return actions

    def _next_errand(self, env_id: int, hand: Array, thing: Array | None) -> _Errand:
        errand = self._notes[env_id]
        if errand is None or errand.over(hand):
            last = np.zeros(4) if errand is None else errand.action
            stream = self._streams[env_id]
            worked = errand is not None and errand.working
            errand = self._draw(stream, hand, thing, last)
            if worked and not errand.working and stream.uniform() < _HOLD_ON:
                errand.grip = CLOSED
            self._notes[env_id] = errand
        return errand

    def _draw(
        self, rng: np.random.Generator, hand: Array, thing: Array | None, last: Array
    ) -> _Errand:
        if thing is not None and self._fumbling and rng.uniform() < self._fumbling:
            return _fumble(rng, thing, last)
        if thing is not None and self._carrying and rng.uniform() < self._carrying:
            return _Errand(hand, 0.0, CLOSED, 1.0, int(rng.integers(*_WORK_PATIENCE)), last, True)
        place = np.array([*rng.uniform(-_HALF_SIDE, _HALF_SIDE, 2), rng.uniform(*_HEIGHTS)])
        kind = rng.uniform()
        if thing is not None and kind < self._contact:
            place[2] = rng.uniform(*_LOW)
            if kind < 0.5 * self._contact:
                # Beside or onto it.
                place[:2] = thing[:2] + rng.normal(0.0, 0.04, 2)
            else:
                # Through it, from wherever the hand is.
                way = thing[:2] - hand[:2]
                length = max(float(np.linalg.norm(way)), 1e-3)
                place[:2] = thing[:2] + way / length * rng.uniform(0.02, 0.12)
                place[:2] += rng.normal(0.0, 0.012, 2)
        return _Errand(
            place=place,
            yaw=rng.uniform(-0.8, 0.8),
            grip=float(rng.choice([-1.0, 1.0])),
            speed=rng.uniform(0.5, 1.0),
            steps=int(rng.integers(*_PATIENCE)),
            action=last,
        )

    def _work(self, errand: _Errand, agent_pos: FloatArray, state: FloatArray) -> FloatArray:
        """What the expert does at `agent_pos` `[P]` and simulator `state` `[S]`."""
        assert self._expert is not None and self._read is not None
        errand.steps -= 1
        action: FloatArray = self._expert.act(agent_pos[None], state[None, list(self._read)])[0]
        errand.action = action[:4].astype(np.float64)
        return action

    def _follow(
        self, errand: _Errand, hand: Array, yaw: float, rng: np.random.Generator
    ) -> FloatArray:
        errand.steps -= 1
        move = (errand.place - hand) / _STEP_METRES
        move *= errand.speed / max(float(np.abs(move).max()), 1.0)
        turn = np.clip((errand.yaw - yaw) / _STEP_RADIANS, -1.0, 1.0) * errand.speed
        wanted = np.array([*move, turn]) + rng.normal(0.0, _JITTER, 4)
        errand.action = _SMOOTHING * wanted + (1.0 - _SMOOTHING) * errand.action
        return np.clip(np.array([*errand.action, errand.grip], np.float32), -1.0, 1.0)


def _fumble(rng: np.random.Generator, thing: Array, last: Array) -> _Errand:
    """A few steps at or a little above a thing."""
    rise = rng.uniform(*_FUMBLE_RISE)
    place = np.array([*(thing[:2] + rng.normal(0.0, _FUMBLE_ASIDE, 2)), thing[2] + rise])
    place[2] = max(place[2], _HEIGHTS[0])
    return _Errand(
        place=place,
        yaw=rng.uniform(-0.8, 0.8),
        grip=float(np.clip(rng.normal(0.0, 0.8), -1.0, 1.0)),
        speed=rng.uniform(0.1, 0.8),
        steps=int(rng.integers(*_FUMBLE_PATIENCE)),
        action=last,
    )
