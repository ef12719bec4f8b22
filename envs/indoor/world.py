"""What IndoorNav looks like from outside: rate, cameras, action, proprioception, state, events."""

from worldsim.envs.indoor.agent import Body, action_spec
from worldsim.envs.indoor.sensors import SensorConfig
from worldsim.spec import VectorSpec, WorldSpec

HZ = 4
"""With steps of a quarter of a metre, a metre a second."""
AGENT_POS = VectorSpec(("agent_x", "agent_y", "agent_cos", "agent_sin"), ("m", "m", "1", "1"))
"""In the frame of the episode's start: the origin there, x along the first heading."""
EVENTS = ("collided", "goal_seen", "at_goal", "stopped")
"""At the goal is where a stop would meet the sub-task under way."""
STATE = VectorSpec(
    (
        *("goal_x", "goal_y", "goal_z", "waypoint_x", "waypoint_y"),
        *("goal_distance", "goal_reached", "goal_clear", "goal_seen", "stages_left"),
    ),
    ("m",) * 6 + ("1",) * 4,
)
"""Privileged, in the frame of the start: the goal, where to go next, metres of shortest path.

The goal is clear where nothing hides it, and seen where the agent also faces it."""


def world_of(sensor: SensorConfig, body: Body) -> WorldSpec:
    """The spec of a world with this sensor and agent.

    Args:
        sensor: gives cameras and the kind of depth.
        body: gives the action.
    """
    return WorldSpec(
        HZ,
        sensor.cameras,
        action_spec(body),
        AGENT_POS,
        STATE,
        camera_pose=True,
        depth=sensor.depth_kind,
        events=EVENTS,
    )
