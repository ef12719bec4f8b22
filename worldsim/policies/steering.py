"""From bearings to actions of an agent that walks, discrete or continuous."""

import numpy as np

from worldsim.errors import UsageError
from worldsim.policies.base import FloatArray
from worldsim.spec import WorldSpec

MOVES = ("forward", "turn_left", "turn_right")
_POSE = ("agent_x", "agent_y", "agent_cos", "agent_sin")
_LEAST = 0.2
"""Least share of a continuous step."""
_BLOCKED = 0.3
"""Share of a step below which it was blocked."""


class Steering:
    """Turns a bearing into an action, discrete or continuous.

    Raises:
        UsageError: the world's actions are not those of an agent that walks.
    """

    def __init__(self, spec: WorldSpec, name: str) -> None:
        self.action = spec.action
        self._discrete = spec.action.kind == "discrete"
        wanted = ("stop", *MOVES) if self._discrete else ("forward", "turn")
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

    def led_nowhere(self, before: tuple[float, float], x: float, y: float) -> bool:
        """Whether a step from one place to another is so short that something was in its way."""
        return bool(np.hypot(x - before[0], y - before[1]) < _BLOCKED * self.step)

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


def wrapped(angle: float) -> float:
    """The same angle in (-pi, pi], radians."""
    return float(np.angle(np.exp(1j * angle)))
