"""The toy world itself, before anything learns it: its pictures, depths and moves."""

import numpy as np
import pytest
from toy_room import (
    FORWARD,
    HALF,
    HEIGHT,
    PILLAR,
    RADIUS,
    TURN,
    WIDTH,
    Move,
    Walker,
    rays,
    seen,
)


def test_a_turn_rolls_the_picture_by_whole_columns() -> None:
    walker = Walker(-0.4, 0.2, 0.3)
    picture, depth = seen(walker)
    turned, further = seen(walker.moved(Move.LEFT))
    columns = round(TURN / (2 * np.pi) * WIDTH)
    # Rounding decides which side of an edge a few rays hit.
    same = np.roll(picture, columns, axis=1) == turned
    assert same.mean() > 0.99
    np.testing.assert_allclose(np.roll(depth, columns, axis=1), further, rtol=1e-4)


def test_depth_leads_from_the_camera_onto_the_walls_or_the_pillar() -> None:
    walker = Walker(0.3, -0.5, 1.0)
    _, depth = seen(walker)
    pose = walker.pose.astype(float)
    points = pose[:3, 3] + (rays() * depth[..., None]) @ pose[:3, :3].T
    to_wall = np.abs(HALF - np.abs(points)).min(axis=-1)
    to_pillar = np.abs(np.linalg.norm(points[..., :2] - PILLAR, axis=-1) - RADIUS)
    assert np.minimum(to_wall, to_pillar).max() < 1e-5


def test_the_middle_column_looks_ahead() -> None:
    # The pillar is ahead, and above and below it the same column meets it too.
    yaw = float(np.arctan2(PILLAR[1], PILLAR[0]))
    _, depth = seen(Walker(0.0, 0.0, yaw))
    middle = depth[HEIGHT // 2, WIDTH // 2 - 1 : WIDTH // 2 + 1]
    expected = np.hypot(*PILLAR) - RADIUS
    assert middle == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("yaw", [0.0, 1.1, -2.4])
def test_a_step_forward_moves_along_the_heading_and_walls_stop_it(yaw: float) -> None:
    walker = Walker(0.0, 0.0, yaw)
    ahead = walker.moved(Move.FORWARD)
    assert (ahead.x, ahead.y) == pytest.approx((FORWARD * np.cos(yaw), FORWARD * np.sin(yaw)))
    for _ in range(40):
        ahead = ahead.moved(Move.FORWARD)
    assert ahead == ahead.moved(Move.FORWARD)
    assert (np.abs([ahead.x, ahead.y]) < HALF[:2]).all() and ahead.distance > RADIUS
