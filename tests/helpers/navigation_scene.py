"""A described apartment, and an expert that walks a grid of quarter metres in it."""

import math

import numpy as np

from worldsim.data.navigation.episode import NavigationEpisode, Pose
from worldsim.data.navigation.scene import Room, SceneDescription, SceneObject
from worldsim.data.navigation.walk import FORWARD, LEFT, RIGHT, STOP, Walk

STEP, TURN = 0.25, math.radians(30)


def apartment(**changes: object) -> SceneDescription:
    """Two rooms, each with things to carry and places to bring them to."""
    things = [
        ("bag", "0", (1.0, 3.0, 0.0), True),
        ("mug", "0", (0.5, -2.0, 0.0), True),
        ("bed", "0", (-2.0, 3.0, 0.0), False),
        ("book", "4", (6.0, 1.0, 0.0), True),
        ("lamp", "4", (6.0, -2.0, 0.0), True),
        ("desk", "4", (8.0, 3.0, 0.0), False),
        ("shelf", "4", (8.5, -3.0, 0.0), False),
    ]
    given = {
        "name": "flat-3",
        "rooms": (Room("0", "Bedroom"), Room("4", "Office")),
        "objects": tuple(SceneObject(*thing) for thing in things),
        "starts": (Pose((0.0, 0.0, 0.0)), Pose((4.0, 0.0, 0.0), math.pi / 2)),
    }
    return SceneDescription(**(given | changes))  # type: ignore[arg-type]


def stroll(episode: NavigationEpisode) -> Walk:
    """Turns towards each goal, walks until it is near, and stops; there are no walls."""
    assert episode.start is not None
    place, heading = np.array(episode.start.position), episode.start.heading
    places, headings, actions = [place], [heading], []

    def act(action: str) -> None:
        nonlocal place, heading
        heading += TURN * ((action == LEFT) - (action == RIGHT))
        ahead = np.array([math.cos(heading), math.sin(heading), 0.0])
        place = place + STEP * ahead * (action == FORWARD)
        places.append(place)
        headings.append(heading)
        actions.append(action)

    for task in episode.sub_tasks:
        goal = np.array(task.goals[0])
        while np.linalg.norm(goal - place) > task.radius / 2:
            aside = aside_of(place, heading, goal)
            act(FORWARD if abs(aside) <= TURN / 2 + 1e-9 else LEFT if aside > 0 else RIGHT)
        act(STOP)
    return Walk(np.array(places), np.array(headings), tuple(actions))


def aside_of(place: np.ndarray, heading: float, goal: np.ndarray) -> float:
    """Angle to the left at which a goal lies."""
    angle = math.atan2(goal[1] - place[1], goal[0] - place[0]) - heading
    return (angle + math.pi) % (2 * math.pi) - math.pi
