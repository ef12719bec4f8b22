"""`ground`: homographies of a plane against closed forms and against pictures of it."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from worldsim_testing import nano_spec

from worldsim.cameras.poses import pose_matrix
from worldsim.cameras.projection import PROJECTIONS
from worldsim.memory.base import (
    FrameCameras,
    FrameReader,
    Memory,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    registered_memories,
)
from worldsim.memory.ground import ground_flow
from worldsim.spec import CameraSpec

PINHOLE = PROJECTIONS.get("pinhole")
SIDE, FOCAL = 32, 40.0
K = torch.tensor([[FOCAL, 0.0, SIDE / 2], [0.0, FOCAL, SIDE / 2], [0.0, 0.0, 1.0]])
PLANE = 0.1


def looking_down(
    x: float = 0.0, y: float = 0.0, above: float = 0.4, turn: float = 0.0, tilt: float = 0.0
) -> Tensor:
    """Pose of a camera over the plane, its picture's up along +y before it turns and tilts."""
    down = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    c, s = math.cos(turn), math.sin(turn)
    turned = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    c, s = math.cos(tilt), math.sin(tilt)
    tilted = torch.tensor([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    return pose_matrix(turned @ down @ tilted, torch.tensor([x, y, PLANE + above]))


def picture(pose: Tensor) -> Tensor:
    """uint8 `[H, W, 3]` of a plane of smooth colours from a pose; what misses it is black."""
    rays = PINHOLE.rays(K, pose[:3, :3], SIDE, SIDE)
    reach = (PLANE - pose[2, 3]) / rays[2]
    x, y = pose[0, 3] + reach * rays[0], pose[1, 3] + reach * rays[1]
    colours = torch.stack([(17 * x).sin(), (13 * y).cos(), (11 * (x + y)).sin()], dim=-1)
    return ((colours * 100 + 128) * (reach > 0)[..., None]).to(torch.uint8)


def as_latents(pixels: Tensor) -> Tensor:
    return pixels.movedim(-1, -3).float() / 255


READER = FrameReader(
    lambda latents: (latents.movedim(-3, -1) * 255).round().to(torch.uint8),
    latents=lambda video: (video + 1) / 2,
)


def memory(rows: int = 1, riding: bool = True) -> Memory:
    camera = CameraSpec("eye", SIDE, SIDE, carrier="end_effector" if riding else None)
    spec = replace(nano_spec(), cameras=(CameraSpec("still", SIDE, SIDE), camera))
    size = MemorySize(spec, (2, 3, SIDE, SIDE), rows, torch.device("cpu"))
    return registered_memories().get("ground").new(MemoryConfig("ground", ground=PLANE), size)


def cameras(poses: list[Tensor], known: float = 1.0) -> FrameCameras:
    still = looking_down(0.3)
    pose = torch.stack([torch.stack([still, pose]) for pose in poses])[:, None]
    return FrameCameras(pose, K.repeat(len(poses), 2, 1, 1), torch.full((len(poses),), known))


def shown(poses: list[Tensor], known: float = 1.0) -> ShownFrames:
    latents = torch.stack([as_latents(picture(pose)) for pose in poses])
    both = torch.stack([latents, latents], dim=1)[:, None]
    rows = len(poses)
    ones, number = torch.ones(rows, dtype=torch.long), torch.zeros(rows, 1, dtype=torch.long)
    return ShownFrames(
        both, cameras(poses, known), torch.ones(rows, 1, 2), ones, number, reader=READER
    )


def test_a_step_aside_shifts_by_focal_length_times_step_over_height() -> None:
    before, now = looking_down()[None], looking_down(x=0.05)[None]
    places, seen = ground_flow(PINHOLE, K[None], now, before, PLANE, (SIDE, SIDE))
    centres = torch.arange(SIDE) + 0.5
    shift = FOCAL * 0.05 / 0.4
    torch.testing.assert_close(
        (places[0, 0, :, 0] + 1) * SIDE / 2, centres + shift, atol=1e-4, rtol=0
    )
    torch.testing.assert_close((places[0, :, 0, 1] + 1) * SIDE / 2, centres, atol=1e-4, rtol=0)
    assert torch.equal(seen[0].any(0), centres + shift <= SIDE)


def test_a_plane_beside_the_centre_and_the_sky_are_not_seen() -> None:
    level = looking_down(tilt=math.pi / 2)[None]  # the horizon runs through the middle
    places, seen = ground_flow(PINHOLE, K[None], level, level, PLANE, (SIDE, SIDE))
    assert places.isfinite().all()
    rows = seen[0].all(1)
    assert rows.sum() == SIDE // 2 and not seen[0][~rows].any()
    inside = looking_down(above=0.0)[None]
    assert not ground_flow(PINHOLE, K[None], inside, inside, PLANE, (SIDE, SIDE))[1].any()


@pytest.mark.parametrize(
    "now",
    [
        looking_down(x=0.06, y=-0.03),
        looking_down(turn=0.4),
        looking_down(above=0.3),
        looking_down(x=0.05, above=0.45, turn=-0.3, tilt=0.2),
    ],
    ids=["aside", "turned", "lower", "all"],
)
def test_a_moved_camera_is_shown_the_plane_as_it_sees_it(now: Tensor) -> None:
    held = memory()
    held.update(shown([looking_down()]))
    view = held.view(cameras([now]))
    truth, covered = as_latents(picture(now)), view.coverage[0, 0, 1]
    assert covered.mean() > 0.4 and bool(((covered == 0) | (covered == 1)).all())
    error = ((view.render[0, 0, 1] - truth).square() * covered).sum() / (3 * covered.sum())
    unmoved = ((as_latents(picture(looking_down())) - truth).square() * covered).sum()
    assert error < 2e-5 and error < 0.05 * unmoved / (3 * covered.sum())


def test_only_cameras_that_move_and_are_known_are_told_of() -> None:
    held = memory()
    held.update(shown([looking_down()]))
    view = held.view(cameras([looking_down(x=0.05)]))
    assert view.coverage[0, 0, 1].any() and not view.coverage[0, 0, 0].any()
    for silent in (memory(riding=False), memory()):
        silent.update(shown([looking_down()], known=0.0))
        assert not silent.view(cameras([looking_down(x=0.05)])).coverage.any()


def test_poses_of_unknown_cameras_need_not_be_finite() -> None:
    held = memory(rows=2)
    both, lost = [looking_down(), looking_down()], torch.full((4, 4), torch.nan)
    first = shown(both)
    known = torch.tensor([1.0, 0.0])
    first.cameras.pose[1, :, 1] = lost
    held.update(replace(first, cameras=replace(first.cameras, known=known)))
    now = cameras([looking_down(x=0.05), lost])
    view = held.view(replace(now, known=known))
    assert view.coverage[0].any() and not view.coverage[1].any()
    assert view.render.isfinite().all() and not view.render[1].any()


def test_several_frames_to_come_are_each_seen_from_their_place() -> None:
    held, ways = memory(), [looking_down(x=0.03), looking_down(x=0.06, turn=0.2)]
    held.update(shown([looking_down()]))
    apart = [cameras([pose]) for pose in ways]
    both = replace(apart[0], pose=torch.cat([each.pose for each in apart], dim=1))
    whole = held.view(both)
    for frame, each in enumerate(apart):
        one = held.view(each)
        torch.testing.assert_close(whole.render[:, frame], one.render[:, 0])
        assert torch.equal(whole.coverage[:, frame], one.coverage[:, 0])


def test_rows_that_join_bring_their_reader() -> None:
    running, fresh = memory(), memory()
    fresh.update(shown([looking_down()]))
    both = running.joined(fresh)
    coverage = both.view(cameras([looking_down(x=0.02)] * 2)).coverage
    assert coverage[1].any() and not coverage[0].any()


def test_a_stream_goes_on_from_its_newest_frame() -> None:
    held, poses = memory(), [looking_down(), looking_down(x=0.1), looking_down(x=0.12)]
    for pose in poses[:2]:
        held.update(shown([pose]))
    view, truth = held.view(cameras([poses[2]])), as_latents(picture(poses[2]))
    covered = view.coverage[0, 0, 1]
    error = ((view.render[0, 0, 1] - truth).square() * covered).sum() / (3 * covered.sum())
    assert covered.mean() > 0.9 and error < 2e-5
