"""Whether cameras stand where a data set says: the hand must be where the picture changes.

Nothing is recognised. Where the end effector moves, its projection must lie in the picture, and the
picture must change there more than elsewhere. With a wrong pose it changes there no more than at
any other place. DROID's calibrations are known to be wrong in part (rerun's DROID viewer, #15).

Legend: N rows, V views, H W pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.faults import Fault
from worldsim.data.records import EPISODES
from worldsim.data.video import Pixels
from worldsim.spec import PINHOLE

Float = NDArray[np.float64]

EPISODES_SEEN = 8
ENOUGH = 30
"""Steps in which the hand moves across the picture, from which on a camera is judged."""
LEAST_MOTION = 0.02
"""Share of the picture's width that the projection moves in such a step."""
DISC = 0.08
"""Radius of what a hand covers, as a share of the picture's width."""
LEAST_SEEN, LEAST_RANK = 0.3, 0.7
"""A camera is flagged below one of these; by chance the rank is one half."""
_NEAR = 0.02
"""Metres in front of a camera, from which on a point is seen."""


@dataclass(frozen=True)
class Reprojection:
    """How well a camera's pose agrees with what it shows.

    Attributes:
        camera: its name.
        seen: share of rows in which the hand's projection lies in the picture.
        rank: mean share of the picture that changes less than the place of the hand does.
        steps: how many steps `rank` is of.
    """

    camera: str
    seen: float
    rank: float
    steps: int

    @property
    def message(self) -> str:
        """What is wrong, or nothing."""
        if self.seen < LEAST_SEEN:
            return f"the hand's projection lies outside the picture in {1 - self.seen:.0%} of rows"
        if self.steps >= ENOUGH and self.rank < LEAST_RANK:
            return (
                f"where the hand should be the picture changes more than in {self.rank:.0%} of its "
                f"places alone (50% is chance, {self.steps} steps)"
            )
        return ""


def hand_entries(names: Sequence[str]) -> list[int] | None:
    """Entries of proprioception that are the end effector's place; None where none is told."""
    low = [name.lower() for name in names]
    for begin in ("ee_", "eef_", "hand_", "cartesian_", "tcp_", ""):
        places = [next((i for i, n in enumerate(low) if n == f"{begin}{x}"), None) for x in "xyz"]
        if None not in places:
            return [place for place in places if place is not None]
    for x in (n for n in low if n.endswith("pos_x")):
        stem = x[:-1]
        if f"{stem}y" in low and f"{stem}z" in low:
            return [low.index(f"{stem}{axis}") for axis in "xyz"]
    return None


def projected(points: Float, rig: CameraRig, view: int) -> Float:
    """`[N, 2]` pixels (across, down) of places `[N, 3]` in the world; NaN behind the camera."""
    pose = np.asarray(rig.extrinsics[view], np.float64)
    seen = (points - pose[:3, 3]) @ pose[:3, :3]
    pixels = seen @ np.asarray(rig.intrinsics[view], np.float64).T
    depth = np.where(seen[:, 2:] > _NEAR, pixels[:, 2:], np.nan)
    return np.asarray(pixels[:, :2] / depth, np.float64)


def motion_ranks(frames: Iterable[Pixels], places: Float) -> list[float]:
    """For each step of a moving hand, the share of places that change less than its own.

    Args:
        frames: N frames `[H, W, 3]`, one after the other.
        places: `[N, 2]` pixels of the hand; NaN where it is not seen.
    """
    import cv2

    ranks: list[float] = []
    for row, (before, after) in enumerate(pairwise(frames)):
        height, width = before.shape[:2]
        ends = places[row : row + 2]
        inside = ((ends >= 0) & (ends < (width, height))).all()
        if not inside or np.linalg.norm(ends[1] - ends[0]) < LEAST_MOTION * width:
            continue
        radius = max(round(DISC * width), 1)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        change = np.abs(after.astype(np.float32) - before).mean(axis=2)
        kernel = disc.astype(np.float32) / disc.sum()
        near = cv2.filter2D(change, -1, kernel, borderType=cv2.BORDER_REFLECT)
        own = max(near[int(y), int(x)] for x, y in ends)
        ranks.append(float((near < own).mean()))
    return ranks


def reprojections(dataset: LeRobotDataset) -> list[Reprojection]:
    """Each calibrated camera that stands fixed, over the first episodes.

    Empty where proprioception does not say where the end effector is.

    Raises:
        DataError: an episode cannot be read.
    """
    entries = hand_entries(dataset.spec.agent_pos.names)
    if entries is None:
        return []
    found = []
    for camera in (each for each in dataset.spec.cameras if each.projection == PINHOLE):
        seen: list[bool] = []
        ranks: list[float] = []
        for episode in range(min(dataset.num_episodes, EPISODES_SEEN)):
            rig = dataset.meta(episode).rig
            if rig is None or camera.name not in rig.names:
                continue
            view = rig.names.index(camera.name)
            if rig.mounted[view]:
                continue
            points = dataset.arrays(episode)["agent_pos"][:, entries].astype(np.float64)
            places = projected(points, rig, view)
            size = (camera.width, camera.height)
            inside: NDArray[np.bool_] = np.all((places >= 0) & (places < size), axis=1)
            seen += inside.tolist()
            ranks += motion_ranks(dataset.each_frame(episode, camera.name), places)
        if seen:
            rank = float(np.mean(ranks)) if ranks else 0.0
            found.append(Reprojection(camera.name, float(np.mean(seen)), rank, len(ranks)))
    return found


def extrinsics_faults(dataset: LeRobotDataset) -> Iterator[Fault]:
    """A warning for each camera whose stated pose does not agree with its pictures."""
    for each in reprojections(dataset):
        if each.message:
            message = (
                f"the pose of camera {each.camera!r} looks wrong: {each.message}; rays and maps of "
                "the hand would mislead a model, so mend the calibration or leave it out"
            )
            yield Fault(EPISODES, None, message, "warning")
