"""An explorer that walks straight on: a policy, and what experts do who do not know the way."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.config.limits import Count, Share, Whole
from worldsim.config.values import check_arguments
from worldsim.conventions import Observation
from worldsim.policies.base import POLICIES, EpisodePolicy, FloatArray
from worldsim.policies.steering import Steering
from worldsim.spec import ActionKind, WorldSpec


@dataclass
class Wander:
    """An explorer's way through one episode.

    Attributes:
        place: where it began the step that it makes, None where it makes none.
        turns: turns that are left to make.
        move: to which side.
        steps: made so far.
    """

    place: tuple[float, float] | None = None
    turns: int = 0
    move: str = "turn_left"
    steps: int = 0

    def step(
        self,
        steering: Steering,
        agent_pos: FloatArray,
        stream: np.random.Generator,
        turning: float,
        most: int,
    ) -> FloatArray:
        """The next action `[A]`.

        Args:
            steering: of the agent.
            agent_pos: `[P]` where odometry puts it.
            stream: of its chance.
            turning: chance that a step begins a turn although the way is free.
            most: most actions of a turn.
        """
        self.steps += 1
        x, y, _ = steering.pose(agent_pos)
        before, self.place = self.place, None
        blocked = before is not None and steering.led_nowhere(before, x, y)
        if self.turns == 0 and (blocked or stream.uniform() < turning):
            self.turns = int(stream.integers(1, most + 1))
            self.move = "turn_left" if stream.uniform() < 0.5 else "turn_right"
        if self.turns > 0:
            self.turns -= 1
            return steering.named(self.move)
        self.place = (x, y)
        return steering.named("forward")


@POLICIES.register("forward")
class ForwardPolicy(EpisodePolicy[Wander]):
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
        super().__init__()
        check_arguments(ForwardPolicy, given, name)
        self.name, self.n_action_steps = name, 1
        self._steering = Steering(spec, name)
        self._turning, self._stop, self._most = turning, int(stop_after), int(most_turns)

    def _begin(self) -> Wander:
        return Wander()

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, 1, A]`."""
        rows = zip(map(int, env_ids), observation["agent_pos"], strict=True)
        return np.stack([self._act(*row) for row in rows])[:, None]

    def _act(self, env_id: int, agent_pos: FloatArray) -> FloatArray:
        way, stream = self._notes[env_id], self._streams[env_id]
        if self._stop and way.steps >= self._stop:
            return self._steering.named("stop")
        return way.step(self._steering, agent_pos, stream, self._turning, self._most)
