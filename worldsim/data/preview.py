"""An episode at a glance: a contact sheet (PNG), or a film of all views (GIF, MP4)."""

from pathlib import Path

import numpy as np

from worldsim.data.dataset import LeRobotDataset
from worldsim.data.disk import disk_errors
from worldsim.data.statistics import sample_rows
from worldsim.data.video import Pixels, VideoCodec, encode_video
from worldsim.errors import UsageError
from worldsim.files import atomic_path

GAP = 2
"""Pixels between tiles."""


def preview(
    dataset: LeRobotDataset, episode: int, out: Path, frames: int = 12, scale: int = 2
) -> Path:
    """Write a preview of one episode; the suffix of `out` chooses its kind.

    Args:
        dataset: where the episode is.
        episode: its index.
        out: `.png` shows `frames` moments, one row a view; `.gif` and `.mp4` play it whole.
        frames: columns of the contact sheet.
        scale: whole-number enlargement.

    Raises:
        UsageError: another suffix, or frames or scale below 1.
    """
    if out.suffix not in (".png", ".gif", ".mp4"):
        raise UsageError(f"preview writes .png, .gif or .mp4, got {str(out)!r}")
    if frames < 1 or scale < 1:
        raise UsageError(f"frames and scale must be at least 1, got {frames} and {scale}")
    names = [camera.name for camera in dataset.index.cameras]
    views = [dataset.frames(episode, name) for name in names]
    enlarged = [view.repeat(scale, axis=1).repeat(scale, axis=2) for view in views]
    out.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(out.parent), atomic_path(out) as temporary:
        if out.suffix == ".png":
            _write_sheet(enlarged, frames, temporary)
        elif out.suffix == ".gif":
            _write_gif(_side_by_side(enlarged), float(dataset.info["fps"]), temporary)
        else:
            encode_video(
                temporary, _side_by_side(enlarged), float(dataset.info["fps"]), VideoCodec(crf=16)
            )
    return out


def _write_sheet(views: list[Pixels], frames: int, path: Path) -> None:
    from PIL import Image

    rows = sample_rows(len(views[0]), frames)
    width = max(view.shape[2] for view in views)
    lines = []
    for view in views:
        canvas = np.full((len(rows), view.shape[1] + GAP, width + GAP, 3), 255, np.uint8)
        canvas[:, : view.shape[1], : view.shape[2]] = view[rows]
        lines.append(np.concatenate(list(canvas), axis=1))
    Image.fromarray(np.concatenate(lines)).save(path)


def _side_by_side(views: list[Pixels]) -> Pixels:
    """Views in one row, padded to even sizes."""
    height = max(view.shape[1] for view in views)
    width = sum(view.shape[2] + GAP for view in views) - GAP
    film = np.full((len(views[0]), height + height % 2, width + width % 2, 3), 255, np.uint8)
    left = 0
    for view in views:
        film[:, : view.shape[1], left : left + view.shape[2]] = view
        left += view.shape[2] + GAP
    return film


def _write_gif(film: Pixels, fps: float, path: Path) -> None:
    from PIL import Image

    images = [Image.fromarray(frame) for frame in film]
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0
    )
