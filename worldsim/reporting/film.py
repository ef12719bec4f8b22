"""Films of rollouts: truth beside imagination, one row per camera, judge and action below.

Legend: T time, V view, H, W pixels of one view, K upscaling factor.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from worldsim.config.limits import between
from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.reporting.encode import write_frames
from worldsim.reporting.film_overlay import (
    BACKGROUND,
    DIM,
    TEXT,
    draw_strip,
    fit_text,
    font,
    strip_height,
)
from worldsim.rollout.film_store import Kind
from worldsim.rollout.record import RolloutRecord

Pixels = NDArray[np.uint8]

GAP = 4
LABEL = 18
TITLE = 20
COLOURS = {"truth": (92, 184, 232), "imagination": (240, 160, 64)}
SUCCESS = (64, 200, 96)


Tile = Annotated[int, between(16, 2048)]
"""Pixels."""


@dataclass(frozen=True)
class FilmStyle(Checked):
    """How a film looks.

    Attributes:
        tile: least width of one view in pixels; views are enlarged by a whole factor.
        overlay: whether title, labels, actions and judge are drawn.
        threshold: judge probability at which its bar turns green.
    """

    tile: Tile = 160
    overlay: bool = True
    threshold: float = 0.5


def film_frames(record: RolloutRecord, style: FilmStyle | None = None) -> Iterator[Pixels]:
    """Frames of the film, each uint8 `[H', W', 3]`, composed as they are asked for.

    There are as many as in the longer world. The other holds its last frame, dimmed.
    """
    look = style or FilmStyle()
    layout = _Layout.of(record, look)
    frames = (layout.frame(record, look, step) for step in range(record.length))
    if record.panel is None:
        return frames
    panel = record.panel
    return (_below(each, panel[min(k, len(panel) - 1)]) for k, each in enumerate(frames))


def _below(frame: Pixels, panel: Pixels) -> Pixels:
    """A frame with a panel under it, shrunk where it is wider."""
    width = frame.shape[1] - 2 * GAP
    if panel.shape[1] > width:
        height = max(round(panel.shape[0] * width / panel.shape[1]), 1)
        panel = np.asarray(Image.fromarray(panel).resize((width, height), Image.Resampling.BOX))
    foot = np.full((panel.shape[0] + 2 * GAP, frame.shape[1], 3), BACKGROUND, np.uint8)
    left = (frame.shape[1] - panel.shape[1]) // 2
    foot[GAP : GAP + panel.shape[0], left : left + panel.shape[1]] = panel
    return np.concatenate([frame, foot])


def write_film(
    path: Path, record: RolloutRecord, style: FilmStyle | None = None, speed: float = 1.0
) -> None:
    """Compose and write a film as MP4 or GIF, by the suffix of `path`.

    Args:
        path: target file, written whole or not at all.
        record: the rollout.
        style: how it looks.
        speed: 1 plays in real time.
    """
    if speed <= 0:
        raise UsageError(f"film speed must be positive, got {speed}")
    write_frames(path, film_frames(record, style), record.fps * speed)


@dataclass(frozen=True)
class _Layout:
    """Where each view of each world goes.

    Attributes:
        worlds: names of the worlds shown, left to right.
        scale: K.
        columns: views beside each other.
        tile: (height, width) of one enlarged view.
    """

    worlds: tuple[str, ...]
    scale: int
    columns: int
    tile: tuple[int, int]

    @staticmethod
    def of(record: RolloutRecord, style: FilmStyle) -> "_Layout":
        frames = {"truth": record.truth, "imagination": record.imagined}
        shown = {name: array for name, array in frames.items() if array is not None}
        height = max(array.shape[2] for array in shown.values())
        width = max(array.shape[3] for array in shown.values())
        scale = max(1, ceil(style.tile / width))
        views = len(record.cameras)
        # Two worlds make pairs, so that each camera is compared side by side.
        grid = views if views <= 3 else ceil(sqrt(views))
        columns = grid if len(shown) == 1 else 1 + (views > 3) + (views > 8)
        return _Layout(tuple(shown), scale, columns, (height * scale, width * scale))

    def frame(self, record: RolloutRecord, style: FilmStyle, step: int) -> Pixels:
        """One composed frame `[H', W', 3]`."""
        height, width = self.tile
        rows = ceil(len(record.cameras) / self.columns)
        total_width = self.columns * len(self.worlds) * (width + GAP) + GAP
        top = (TITLE + LABEL) if style.overlay else GAP
        bottom = strip_height(record) if style.overlay else 0
        canvas = np.full((top + rows * (height + GAP) + bottom, total_width, 3), BACKGROUND)
        canvas = canvas.astype(np.uint8)
        for view in range(len(record.cameras)):
            for side, world in enumerate(self.worlds):
                x, y = self._corner(view, side, top)
                canvas[y : y + height, x : x + width] = self._view(record, world, view, step)
        if not style.overlay:
            return canvas
        image = Image.fromarray(canvas)
        self._annotate(ImageDraw.Draw(image), record, step, top, total_width)
        draw_strip(image, record, step, style.threshold)
        return np.asarray(image)

    def _corner(self, view: int, side: int, top: int) -> tuple[int, int]:
        column = (view % self.columns) * len(self.worlds) + side
        row = view // self.columns
        return GAP + column * (self.tile[1] + GAP), top + row * (self.tile[0] + GAP)

    def _view(self, record: RolloutRecord, world: str, view: int, step: int) -> Pixels:
        """One enlarged view, dimmed after its world ended, framed green once it succeeded."""
        frames = record.truth if world == "truth" else record.imagined
        assert frames is not None
        small = frames[min(step, len(frames) - 1), view]
        tile = np.zeros((*self.tile, 3), np.uint8)
        large = small.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        tile[: large.shape[0], : large.shape[1]] = large if step < len(frames) else large // 2
        if world == "truth" and _succeeded(record, step):
            tile[:3] = tile[-3:] = tile[:, :3] = tile[:, -3:] = SUCCESS
        return tile

    def _annotate(
        self, draw: ImageDraw.ImageDraw, record: RolloutRecord, step: int, top: int, width: int
    ) -> None:
        draw.text((GAP, 3), fit_text(record.title, width - 2 * GAP), fill=TEXT, font=font())
        for column in range(self.columns):
            for side, world in enumerate(self.worlds):
                frames = record.truth if world == "truth" else record.imagined
                assert frames is not None
                ended = f" (ended at {len(frames) - 1})" if step >= len(frames) else ""
                x, _ = self._corner(column, side, top)
                text = fit_text(world + ended, self.tile[1])
                draw.text((x, TITLE), text, fill=COLOURS[world], font=font())
        for view, camera in enumerate(record.cameras):
            x, y = self._corner(view, 0, top)
            text = fit_text(camera, self.tile[1] - 8)
            box = draw.textbbox((x + 4, y + 2), text, font=font())
            draw.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 2), fill=BACKGROUND)
            draw.text((x + 4, y + 2), text, fill=DIM, font=font())


def _succeeded(record: RolloutRecord, step: int) -> bool:
    truth = record.truth_success
    return truth is not None and bool(truth[: step + 1].any())


@dataclass(frozen=True)
class Film:
    """A film to embed.

    Attributes:
        title: such as "expert, start 12".
        caption: what to see in it.
        kind: whether truth and judge agree on success, on failure, or disagree.
        mp4: the file's bytes.
    """

    title: str
    caption: str
    kind: Kind
    mp4: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.mp4[4:8] != b"ftyp":
            raise UsageError(f"film {self.title!r} is not an MP4 file")

    @staticmethod
    def of(
        record: RolloutRecord, caption: str, kind: Kind, style: FilmStyle | None = None
    ) -> "Film":
        """Compose and encode a rollout."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "film.mp4"
            write_film(path, record, style)
            return Film(record.title, caption, kind, path.read_bytes())
