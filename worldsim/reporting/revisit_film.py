"""Films of revisits: simulator, arms and what their memories rendered, beside a map of the way.

In the second picture of the simulator, what comes back after its absence is as it is, what else was
seen before is dim, and what was never seen is red.

Legend: T frames of a walk, L frames of its return, V views, H W pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from worldsim.envs.indoor.floor_map import FloorMap, floor_map
from worldsim.reporting.encode import write_frames
from worldsim.reporting.film import COLOURS, GAP, LABEL, TITLE, Film
from worldsim.reporting.film_overlay import BACKGROUND, DIM, TEXT, fit_text, font
from worldsim.validation.revisit.arms import Arm
from worldsim.validation.revisit.copies import Streamed
from worldsim.validation.revisit.places import Place
from worldsim.validation.revisit.walk import RecordedScene

Pixels = NDArray[np.uint8]
TILE = 192
"""Least width of a picture."""
NEVER = (200, 40, 40)
FIRST, BACK = (40, 110, 200), (220, 110, 30)


@dataclass(eq=False)
class FilmMaker:
    """Collects streams arm by arm, and writes one film for each walk.

    Attributes:
        folder: of the films.
        arms: names of those that are shown.
        fps: of the world.
        written: films, after `write`.
    """

    folder: Path
    arms: Sequence[str]
    fps: float
    written: list[Film] = field(default_factory=list)
    _walks: dict[tuple[int, str], "_Reel"] = field(default_factory=dict)

    def take(self, place: Place, arm: Arm, made: Streamed) -> None:
        """Keep the first stream of a walk, if the arm is to be shown."""
        if arm.name in self.arms:
            key = (place.walk.scene.number, place.walk.route)
            reel = self._walks.setdefault(key, _Reel(place))
            reel.arms[arm.name] = (made.frames[:, 0], made.renders)

    def write(self) -> None:
        """Write MP4 files, each whole or not at all."""
        for (scene, route), reel in self._walks.items():
            path = self.folder / f"{route}_{scene}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_frames(path, reel.pictures(), self.fps)
            title = f"{route}, scene {scene}"
            caption = f"{title}; the return begins at frame {reel.place.walk.back}"
            self.written.append(Film(title, caption, "success", path.read_bytes()))


@dataclass(eq=False)
class _Reel:
    """One walk, and what arms made of it: frames `[T, V, H, W, 3]`, and renders where there are."""

    place: Place
    arms: dict[str, tuple[Pixels, Pixels | None]] = field(default_factory=dict)

    def pictures(self) -> Iterator[Pixels]:
        """Composed frames `[H', W', 3]`."""
        walk = self.place.walk
        masks = self.place.scored.masks
        plan = _scaled_map(self.place, (len(self.arms) + 1) * self._step)
        bare = np.zeros((1, 0, 3), np.uint8)
        for t in range(len(walk.pixels)):
            rows = [("simulator", walk.pixels[t], "seen before", _marked(walk.pixels, masks, t))]
            for name, (frames, renders) in self.arms.items():
                render = None if renders is None else renders[t]
                rows.append((name, frames[t], f"{name}: memory", render))
            drawn = bare if plan is None else _with_way(plan, self.place, t)
            yield self._picture(t, rows, drawn)

    @property
    def _size(self) -> tuple[int, int, int]:
        """Height and width of a picture, and how often each pixel is repeated."""
        views, high, wide = self.place.walk.pixels.shape[1:4]
        factor = max(1, ceil(TILE / (views * wide)))
        return high * factor, views * wide * factor, factor

    @property
    def _step(self) -> int:
        """Rows from one picture to the next below it."""
        return self._size[0] + LABEL + GAP

    def _picture(
        self, t: int, rows: Sequence[tuple[str, Pixels, str, Pixels | None]], plan: Pixels
    ) -> Pixels:
        high, wide, factor = self._size
        width = 3 * GAP + 2 * wide + GAP + plan.shape[1]
        canvas = np.full((TITLE + len(rows) * self._step, width, 3), BACKGROUND, np.uint8)
        for index, (_, left, _, right) in enumerate(rows):
            top = TITLE + index * self._step + LABEL
            for column, views in enumerate((left, right)):
                if views is not None:
                    x = GAP + column * (wide + GAP)
                    large = np.concatenate(list(views), axis=1)
                    large = large.repeat(factor, axis=0).repeat(factor, axis=1)
                    canvas[top : top + high, x : x + wide] = large
        x = 3 * GAP + 2 * wide
        canvas[TITLE : TITLE + plan.shape[0], x : x + plan.shape[1]] = plan
        image = Image.fromarray(canvas)
        draw = ImageDraw.Draw(image)
        walk = self.place.walk
        visit = "return" if t >= walk.back else "first visit"
        words = f"{walk.route}, scene {walk.scene.number}: frame {t}, {visit}"
        draw.text((GAP, 3), fit_text(words, width - 2 * GAP), fill=TEXT, font=font())
        for index, (left_words, _, right_words, right) in enumerate(rows):
            y = TITLE + index * self._step + 1
            colour = COLOURS["truth"] if index == 0 else COLOURS["imagination"]
            draw.text((GAP, y), fit_text(left_words, wide), fill=colour, font=font())
            if right is not None:
                beside = fit_text(right_words, wide)
                draw.text((2 * GAP + wide, y), beside, fill=DIM, font=font())
        return np.asarray(image)


def _marked(pixels: Pixels, masks: object, t: int) -> Pixels | None:
    """Views `[V, H, W, 3]` of a return's frame, marked by what was seen of them before."""
    assert isinstance(masks, dict)
    begun = len(pixels) - len(masks["seen"])
    if t < begun:
        return None
    picture = pixels[t] // 3
    returned, never = masks["returned"][t - begun], masks["never"][t - begun]
    picture[returned] = pixels[t][returned]
    picture[never] = NEVER
    return np.asarray(picture, np.uint8)


def _scaled_map(place: Place, height: int) -> FloorMap | None:
    """The scene from above, at most `height` rows and as many columns; None of a recorded one."""
    scene = place.walk.scene
    if isinstance(scene, RecordedScene):
        return None
    drawn = floor_map(scene)
    scale = drawn.scale * height / max(drawn.image.shape[:2])
    return floor_map(scene, scale)


def _with_way(plan: FloorMap, place: Place, t: int) -> Pixels:
    """The map with the way so far: the first visit in blue, the return in orange."""
    walk = place.walk
    shown = plan
    first = walk.places[: min(t, walk.back - 1) + 1]
    if len(first) > 1:
        shown = shown.with_way(first, FIRST)
    if t >= walk.back:
        shown = shown.with_way(walk.places[walk.back - 1 : t + 1], BACK)
    image = shown.image.copy()
    here = plan.pixels(walk.places[t])
    ahead = here + 14 * np.array([np.cos(walk.headings[t]), -np.sin(walk.headings[t])])
    ends = [tuple(int(round(float(x))) for x in each) for each in (here, ahead)]
    cv2.arrowedLine(image, ends[0], ends[1], (20, 20, 20), 2, cv2.LINE_AA, tipLength=0.4)
    return image
