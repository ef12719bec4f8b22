"""Free space, shortest paths, depth and sight of IndoorNav against closed forms and rays."""

import math

import mujoco
import numpy as np
import pytest

from worldsim.envs.indoor.episode import Start, check_start, is_seen, paths_to, space_of
from worldsim.envs.indoor.floor_plan import floor_plan
from worldsim.envs.indoor.free_space import ROUND_ERROR, FreeSpace, rectangle
from worldsim.envs.indoor.furnish import furnish
from worldsim.envs.indoor.scene import Scene, build_scene
from worldsim.envs.indoor.sensors import SensorConfig, agent_pose, look
from worldsim.envs.indoor.shell import before_side
from worldsim.envs.indoor.shortest_path import ShortestPaths
from worldsim.errors import UsageError

R = 0.2
NINE = ((0, 0), *((i / 2, j / 2) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j))
"""Offsets in pixels: the centre, and around the pixel's edge."""
BLOCK = rectangle(np.array([-1.0, -1.0]), np.array([1.0, 1.0]))


def block() -> FreeSpace:
    return FreeSpace(BLOCK[None], R)


def around_corner(start: np.ndarray, end: np.ndarray) -> float:
    """Shortest path of a disc around the corner (1, 1): tangent, arc, tangent."""
    corner = np.array([1.0, 1.0])
    one, other = np.hypot(*(start - corner)), np.hypot(*(end - corner))
    # On the outer side of the corner.
    swept = np.angle(complex(*(end - corner)) / complex(*(start - corner))) % (2 * np.pi)
    arc = swept - math.acos(R / one) - math.acos(R / other)
    return math.sqrt(one**2 - R**2) + math.sqrt(other**2 - R**2) + R * arc


@pytest.mark.parametrize(
    ("start", "end"), [((1.3, 0.2), (0.1, 1.4)), ((1.25, -0.9), (-0.9, 1.25)), ((1.5, 0), (0, 1.3))]
)
def test_path_around_a_corner_is_that_of_a_disc_up_to_the_stated_error(
    start: tuple[float, float], end: tuple[float, float]
) -> None:
    one, other = np.array(start, np.float64), np.array(end, np.float64)
    found = ShortestPaths(block(), other[None]).distance(one)
    exact = around_corner(one, other)
    assert exact - 1e-9 <= found <= exact + ROUND_ERROR * R
    assert found > np.hypot(*(one - other)) + 1e-3


def test_path_around_a_block_has_its_polygon_closed_form() -> None:
    """From side to side: straight along one face, and twice the polygon's quarter turn."""
    space = block()
    paths = ShortestPaths(space, np.array([[-1.0 - R, 0.0]]))
    start = np.array([1.0 + R, 0.0])
    quarter = 8 * math.tan(math.pi / 16) * R
    # From the face's middle up to the corner's beginning, over the top, and down again.
    assert paths.distance(start) == pytest.approx(1 + quarter + 2 + quarter + 1, abs=1e-4)
    path = paths.path(start)
    assert np.hypot(*np.diff(path, axis=0).T).sum() == pytest.approx(paths.distance(start))
    assert space.sees(path[:-1], path[1:]).all()


def test_straight_ways_are_straight_and_walled_places_are_unreachable() -> None:
    space = block()
    paths = ShortestPaths(space, np.array([[3.0, 3.0]]))
    assert paths.distance(np.array([3.0, -3.0])) == pytest.approx(6.0)
    walls = [((-4, -4), (4, -3.8)), ((-4, 3.8), (4, 4)), ((-4, -4), (-3.8, 4)), ((3.8, -4), (4, 4))]
    shut = FreeSpace(np.stack([rectangle(np.array(a), np.array(b)) for a, b in walls]), R)
    away = ShortestPaths(shut, np.array([[0.0, 0.0]]))
    assert away.distance(np.array([6.0, 0.0])) == math.inf
    np.testing.assert_array_equal(away.next(np.array([6.0, 0.0]))[1], [6.0, 0.0])


def test_paths_agree_with_a_fine_grid() -> None:
    """An oracle of its own: Dijkstra on a grid with sixteen neighbours, which is never shorter."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    scene = build_scene(12, 3, 3)
    space = space_of(scene, 0.18)
    paths = paths_to(scene, 0.18, 0)
    low = np.min([room.rect[:2] for room in scene.rooms], axis=0)
    high = np.max([room.rect[2:] for room in scene.rooms], axis=0)
    x, y = np.arange(low[0], high[0], 0.1), np.arange(low[1], high[1], 0.1)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    index = np.arange(grid[..., 0].size).reshape(grid.shape[:2])
    pairs = []
    for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (2, -1), (1, 2), (1, -2)):
        one = index[: len(x) - dx, max(-dy, 0) : len(y) - max(dy, 0)]
        pairs.append(np.stack([one, one + dx * len(y) + dy], axis=-1).reshape(-1, 2))
    edges = np.concatenate(pairs)
    places = grid.reshape(-1, 2)
    edges = edges[space.sees(places[edges[:, 0]], places[edges[:, 1]])]
    lengths = np.hypot(*(places[edges[:, 0]] - places[edges[:, 1]]).T)
    graph = coo_matrix((lengths, edges.T), shape=(len(places), len(places)))
    free = np.flatnonzero(space.is_free(places))
    start = int(free[np.hypot(*(places[free] - scene.threshold).T).argmin()])
    ways = dijkstra(graph.tocsr(), directed=False, indices=start)
    from_start = ShortestPaths(space, places[start][None])
    rng = np.random.default_rng(0)
    for node in rng.choice(free[np.isfinite(ways[free])], 40):
        exact = from_start.distance(places[node])
        # Steps of these sixteen directions make a way at most 2.8 % longer, ends apart.
        assert exact <= ways[node] + 1e-6
        assert ways[node] <= 1.03 * exact + 0.3
    assert np.isfinite(paths.distance(places[start]))


def test_walking_the_path_leads_there() -> None:
    scene = build_scene(3, 5, 8)
    space, paths = space_of(scene, 0.18), paths_to(scene, 0.18, 4)
    rng = np.random.default_rng(1)
    west, south, east, north = scene.rooms[-1].inside
    places = rng.uniform((west, south), (east, north), (60, 2))
    for place in places[space.is_free(places, 0.01)][:10]:
        path = paths.path(place)
        for one, other in zip(path[:-1], path[1:], strict=True):
            moved = space.move(one, other - one, slide=True)
            assert np.hypot(*(moved.place - other)) < 1e-4
        assert paths.distance(path[-1]) < 1e-6


def test_motion_stops_at_the_wall_and_slides_along_it() -> None:
    space, start, step = block(), np.array([2.0, 0.0]), np.array([-2.0, 0.5])
    stopped = space.move(start, step, slide=False)
    np.testing.assert_allclose(stopped.place, [1.0 + R, 0.2], atol=1e-5)
    slid = space.move(start, step, slide=True)
    np.testing.assert_allclose(slid.place, [1.0 + R, 0.5], atol=1e-5)
    assert stopped.collided and slid.collided
    free = space.move(start, np.array([0.5, 0.5]), slide=True)
    assert not free.collided and np.allclose(free.place, [2.5, 0.5])
    away = space.move(slid.place, np.array([0.3, 0.0]), slide=False)
    assert not away.collided


def test_nobody_ever_walks_into_anything() -> None:
    scene = build_scene(7, 4, 8)
    space = space_of(scene, 0.18)
    rng = np.random.default_rng(2)
    west, south, east, north = scene.rooms[0].inside
    places = rng.uniform((west, south), (east, north), (100, 2))
    place = places[space.is_free(places, 0.01)][0]
    for sliding in (True, False):
        for _ in range(600):
            angle = rng.uniform(0, 2 * np.pi)
            step = rng.uniform(0, 0.6) * np.array([np.cos(angle), np.sin(angle)])
            place = space.move(place, step, sliding).place
            assert space.is_free(place, -2e-5)
            assert scene.room_at(place) is not None


@pytest.mark.parametrize("rooms", range(2, 9))
def test_plans_have_their_rooms_and_everything_can_be_reached(rooms: int) -> None:
    for seed in range(4):
        rng = np.random.default_rng([rooms, seed])
        plan = floor_plan(rng, rooms)
        assert len(plan) == rooms == len({room.use for room in plan})
        things = furnish(rng, plan)
        names = [(thing.name, thing.room) for thing in things]
        assert len(set(names)) == len(names) and things
    scene = build_scene(40 + rooms, rooms, rooms)
    space = space_of(scene, 0.18)
    middles = [
        before_side(room, door.side, (door.low + door.high) / 2, 0.5)
        for room in scene.rooms
        for door in room.doors
    ]
    assert space.is_free(np.stack(middles)).all()
    from_door = ShortestPaths(space, scene.threshold[None])
    assert all(np.isfinite(from_door.distance(middle)) for middle in middles)
    reached = [
        np.isfinite(paths_to(scene, 0.18, goal).distance(scene.threshold))
        for goal in range(len(scene.things))
    ]
    assert np.mean(reached) > 0.9


def standing(scene: Scene, seed: int = 0) -> np.ndarray:
    """A free place of the scene's first room."""
    rng = np.random.default_rng(seed)
    west, south, east, north = scene.rooms[0].inside
    places = rng.uniform((west, south), (east, north), (200, 2))
    found: np.ndarray = places[space_of(scene, 0.18).is_free(places, 0.1)][0]
    return found


def off_by(
    scene: Scene, eye: np.ndarray, depth: np.ndarray, around: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of radial depth `[n]`, and whether the pixel shows an edge.

    Args:
        scene: looked at.
        eye: `[3]`.
        depth: `[n]` of pixels.
        around: `[9, n, 3]` unit rays through the pixels, the first through the centres.
    """
    hits = np.stack([rays_hit(scene, eye, rays) for rays in around])
    error = np.abs(depth / hits[0] - 1)
    # Any surface that the pixel shows will do where it shows several.
    best = np.abs(depth / hits - 1).min(axis=0)
    edge = np.ptp(hits, axis=0) / hits[0] > 0.02
    return np.where(edge, np.minimum(error, best), error), edge


def rays_hit(scene: Scene, eye: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Metres along unit directions `[n, 3]` to the first surface, by MuJoCo's own rays."""
    data = mujoco.MjData(scene.model)
    mujoco.mj_forward(scene.model, data)
    geom = np.zeros(1, np.int32)
    return np.array(
        [mujoco.mj_ray(scene.model, data, eye, ray, None, 1, -1, geom) for ray in directions]
    )


@pytest.mark.parametrize(("size", "scene_number"), [(32, 2), (48, 5), (64, 8)])
def test_panoramic_depth_is_the_length_of_the_ray(size: int, scene_number: int) -> None:
    scene = build_scene(scene_number)
    place, yaw = standing(scene), 0.7
    pose = agent_pose(place, yaw)
    frame = look(scene, SensorConfig("panorama", size, 90, 1.25, True), pose)
    assert frame.depth is not None and frame.depth.shape == (1, size, 2 * size)
    chosen = np.random.default_rng(0).choice(2 * size * size, 300, replace=False)
    row, column = np.divmod(chosen, 2 * size)
    around = []
    for down, aside in NINE:
        longitude = ((column + 0.5 + aside) / (2 * size) - 0.5) * 2 * np.pi
        latitude = ((row + 0.5 + down) / size - 0.5) * np.pi
        level = np.cos(latitude)
        agent = (level * np.cos(longitude), -level * np.sin(longitude), -np.sin(latitude))
        around.append(np.stack(agent, axis=1) @ pose[:3, :3].T)
    depth = frame.depth.reshape(-1)[chosen].astype(np.float64)
    error, edge = off_by(scene, np.array([*place, 1.25]), depth, np.stack(around))
    assert error[~edge].max() < 2e-3 and np.median(error) < 1e-4
    assert (error[edge] < 0.03).mean() > 0.8
    assert frame.depth.max() < 40  # there is no hole in the shell


def test_pinhole_depth_is_planar() -> None:
    scene = build_scene(4)
    place, yaw = standing(scene), -1.1
    sensor = SensorConfig("three", 32, 80, 1.0, True)
    frame = look(scene, sensor, agent_pose(place, yaw))
    assert frame.depth is not None and list(frame.pixels) == ["left", "front", "right"]
    rig = sensor.rig
    for view in range(3):
        pose = agent_pose(place, yaw) @ rig.extrinsics[view].astype(np.float64)
        row, column = np.mgrid[2:32:5, 2:32:5]
        pixel = np.stack([column + 0.5, row + 0.5, np.ones_like(row)], axis=-1).reshape(-1, 3)
        around = []
        for offset in NINE:
            moved = pixel + (offset[1], offset[0], 0.0)
            ray = moved @ np.linalg.inv(rig.intrinsics[view].astype(np.float64)).T
            length = np.linalg.norm(ray, axis=1)
            around.append((ray / length[:, None]) @ pose[:3, :3].T)
            if offset == (0, 0):
                lengths = length
        radial = frame.depth[view][row, column].reshape(-1) * lengths
        error, edge = off_by(scene, pose[:3, 3], radial, np.stack(around))
        assert error[~edge].max() < 2e-3 and (error[edge] < 0.03).mean() > 0.8


def test_a_wall_at_known_range() -> None:
    """Looking straight at an empty stretch of the outer wall."""
    scene = build_scene(2, 2, 2)
    place = standing(scene)
    frame = look(scene, SensorConfig("panorama", 64, 90, 2.0, True), agent_pose(place, 0.0))
    assert frame.depth is not None
    # Straight up lies the ceiling; the four middle rows of the zenith see it.
    from worldsim.envs.indoor.floor_plan import CEILING

    latitude = np.deg2rad(90 - 90 / 64)
    up = frame.depth[0, 0].min()
    assert up == pytest.approx((CEILING - 2.0) / math.sin(latitude), rel=1e-3)


def test_things_are_seen_from_before_and_not_through_walls() -> None:
    scene = build_scene(6, 4, 6)
    shown = hidden = 0
    for goal, thing in enumerate(scene.things):
        paths = paths_to(scene, 0.18, goal)
        for place in paths.goals[::5]:
            eye = np.array([*place, 1.25])
            off = thing.place[:2] - place
            yaw = float(np.arctan2(off[1], off[0]))
            shown += is_seen(scene, goal, eye, yaw, 60)
            assert not is_seen(scene, goal, eye, yaw + np.pi, 60)
        other = next(k for k in range(len(scene.rooms)) if k != thing.room)
        west, south, east, north = scene.rooms[other].inside
        corner = np.array([west + 0.3, south + 0.3, 1.25])
        hidden += not is_seen(scene, goal, corner, 0.0, 360)
    assert shown > 2 * len(scene.things) and hidden > len(scene.things) // 2


def test_starts_in_walls_and_goals_out_of_reach_are_refused() -> None:
    scene = build_scene(2, 2, 2)
    corner = np.array(scene.rooms[0].rect[:2])
    with pytest.raises(UsageError, match="lies in a wall"):
        check_start(scene, 0.18, [0], Start(corner, 0.0))
    check_start(scene, 0.18, [0], Start(standing(scene), 0.0))
