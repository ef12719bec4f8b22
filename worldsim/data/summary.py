"""What is in a data set, for people: in lines, a contact sheet (PNG) or a film (GIF, MP4)."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from worldsim.data.dataset import LeRobotDataset
from worldsim.data.statistics import sample_rows
from worldsim.data.video import Pixels, VideoCodec
from worldsim.data.video_writer import encode_video
from worldsim.errors import UsageError
from worldsim.files import atomic_path, disk_errors


def behaviour_lines(dataset: LeRobotDataset) -> list[str]:
    """Counts and success rate by behaviour, then over all, one line each."""
    metas = [dataset.meta(i) for i in range(dataset.num_episodes)]
    counts = Counter(meta.behaviour or meta.policy for meta in metas)
    solved = Counter(meta.behaviour or meta.policy for meta in metas if meta.success)
    frames = sum(record.length for record in dataset.index.records)
    lines = [
        f"{name}: {count} episodes, success rate {solved[name] / count:.2f}"
        for name, count in sorted(counts.items())
    ]
    rate = sum(solved.values()) / len(metas)
    return [*lines, f"all: {len(metas)} episodes, {frames} frames, success rate {rate:.2f}"]


def describe(dataset: LeRobotDataset) -> list[str]:
    """The world, the episodes and the spread of actions."""
    spec, info = dataset.spec, dataset.info
    lengths = np.array([record.length for record in dataset.index.records])
    cameras = ", ".join(f"{c.name} {c.height}x{c.width}" for c in spec.cameras)
    action, tasks = spec.action, list(dataset.index.tasks.values())
    lines = [
        f"data set: {dataset.root} (LeRobot {info['codebase_version']})",
        f"recorded in: {dataset.env_info.get('id') or info.get('robot_type') or 'unknown'}",
        f"rate: {spec.fps:g} fps",
        f"cameras: {cameras}",
        f"action: {', '.join(action.names)} ({action.mode}, {action.frame} frame)",
        *(f"  {line}" for line in dataset.meaning),
        f"proprioception: {', '.join(spec.agent_pos.names) or 'none'}",
        f"state: {', '.join(spec.state.names) or 'none'}",
        f"tasks: {len(tasks)}{f', such as {tasks[0]!r}' if tasks else ''}",
        f"frames an episode: {lengths.min()} to {lengths.max()}, median {np.median(lengths):g}",
    ]
    size = sum(path.stat().st_size for path in dataset.root.glob("[dmv]*/**/*") if path.is_file())
    return [*lines, f"size: {size / 1e6:.1f} MB", *behaviour_lines(dataset)]


KINDS = (".png", ".gif", ".mp4")
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
    if out.suffix not in KINDS:
        raise UsageError(f"preview writes .png, .gif or .mp4, got {str(out)!r}")
    if frames < 1 or scale < 1:
        raise UsageError(f"frames and scale must be at least 1, got {frames} and {scale}")
    out.parent.mkdir(parents=True, exist_ok=True)
    fps = float(dataset.info["fps"])
    with disk_errors(out.parent), atomic_path(out) as temporary:
        if out.suffix == ".png":
            _write_sheet(dataset, episode, frames, scale, temporary)
        elif out.suffix == ".gif":
            _write_gif(_film(dataset, episode, scale), fps, temporary)
        else:
            encode_video(temporary, _film(dataset, episode, scale), fps, VideoCodec(crf=16))
    return out


def _write_sheet(
    dataset: LeRobotDataset, episode: int, moments: int, scale: int, path: Path
) -> None:
    from PIL import Image

    rows = sample_rows(dataset.record(episode).length, moments)
    width = scale * max(camera.width for camera in dataset.index.cameras) + GAP
    lines = []
    for camera in dataset.index.cameras:
        views = dataset.each_frame(episode, camera.name, rows[-1] + 1)
        shown = [_enlarged(view, scale) for row, view in enumerate(views) if row in rows]
        tiles = [_padded(view, GAP, width - view.shape[1]) for view in shown]
        lines.append(np.concatenate(tiles, axis=1))
    Image.fromarray(np.concatenate(lines)).save(path)


def _film(dataset: LeRobotDataset, episode: int, scale: int) -> Iterator[Pixels]:
    """All views of each moment in one row, padded to even sizes."""
    names = [camera.name for camera in dataset.index.cameras]
    for views in zip(*(dataset.each_frame(episode, name) for name in names), strict=True):
        enlarged = [_enlarged(view, scale) for view in views]
        height = max(map(len, enlarged))
        tiles = [_padded(view, height - len(view), GAP) for view in enlarged]
        picture = np.concatenate(tiles, axis=1)[:, :-GAP]
        yield _padded(picture, height % 2, picture.shape[1] % 2)


def _padded(view: Pixels, below: int, right: int) -> Pixels:
    return np.pad(view, ((0, below), (0, right), (0, 0)), constant_values=255)


def _enlarged(view: Pixels, scale: int) -> Pixels:
    return view.repeat(scale, axis=0).repeat(scale, axis=1)


def _write_gif(film: Iterator[Pixels], fps: float, path: Path) -> None:
    from PIL import Image

    images = (Image.fromarray(frame) for frame in film)
    first = next(images)
    first.save(path, save_all=True, append_images=images, duration=round(1000 / fps), loop=0)
