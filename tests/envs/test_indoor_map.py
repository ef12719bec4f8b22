"""Maps of apartments show walls, doors, things and ways where they are."""

import numpy as np

from worldsim.envs.indoor.colours import NAMED
from worldsim.envs.indoor.episode import paths_to
from worldsim.envs.indoor.floor_map import FloorMap, floor_map
from worldsim.envs.indoor.floor_plan import WALL
from worldsim.envs.indoor.scene import build_scene
from worldsim.envs.indoor.shell import before_side

SCENE = build_scene(31, 4, 6)
WALLS = (70, 70, 75)


def at(drawn: FloorMap, place: np.ndarray) -> tuple[int, ...]:
    """The colour at a place."""
    column, row = np.floor(drawn.pixels(place)).astype(int)
    return tuple(map(int, drawn.image[row, column]))


def test_walls_are_dark_and_doors_are_not() -> None:
    drawn = floor_map(SCENE, 150.0)
    for room in SCENE.rooms:
        for side in range(4):
            low, high = room.side(side)
            gaps = [(door.low - 0.05, door.high + 0.05) for door in room.doors if door.side == side]
            for along in np.linspace(low + 0.05, high - 0.05, 9):
                inside_wall = before_side(room, side, float(along), -WALL / 4)
                if not any(begin < along < end for begin, end in gaps):
                    assert at(drawn, inside_wall) == WALLS
            for begin, end in gaps:
                assert at(drawn, before_side(room, side, (begin + end) / 2, -WALL / 4)) != WALLS


def test_things_have_their_colours_and_free_places_none_of_them() -> None:
    drawn = floor_map(SCENE, 40.0)
    borne = {thing.under for thing in SCENE.things}
    for index, thing in enumerate(SCENE.things):
        if index not in borne and thing.under is None and thing.thing.width > 0.3:
            wanted = tuple(int(255 * part) for part in NAMED[thing.colour])
            assert at(drawn, thing.place[:2]) == wanted, thing.name
    assert at(drawn, SCENE.threshold) not in (WALLS, (255, 255, 255))


def test_a_way_is_drawn_where_it_leads_and_the_map_itself_stays() -> None:
    drawn = floor_map(SCENE, 40.0, goals=[0])
    before = drawn.image.copy()
    way = paths_to(SCENE, 0.18, 0).path(SCENE.threshold)
    shown = drawn.with_way(way, (1, 2, 250))
    np.testing.assert_array_equal(drawn.image, before)
    for place in (way[0], (way[0] + way[1]) / 2):
        assert at(shown, place) == (1, 2, 250)
    # Nothing changes further from the way than the ring at its end is wide.
    changed = np.argwhere((shown.image != before).any(axis=-1))[:, ::-1] + 0.5
    ends = shown.pixels(way)
    points = np.concatenate(
        [np.linspace(a, b, 50) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    )
    assert all(np.hypot(*(points - pixel).T).min() < 12 for pixel in changed)


def test_pixels_of_corners() -> None:
    drawn = floor_map(SCENE, 10.0)
    np.testing.assert_allclose(drawn.pixels(drawn.corner), [0, 0])
    np.testing.assert_allclose(drawn.pixels(drawn.corner + (1.0, -2.0)), [10, 20])
