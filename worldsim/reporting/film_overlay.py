"""The strip below a film: step and time, action as bars, judge and progress as gauges."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from worldsim.rollout.record import RolloutRecord

Colour = tuple[int, int, int]

BACKGROUND: Colour = (24, 26, 30)
TEXT: Colour = (232, 234, 238)
DIM: Colour = (176, 180, 188)
TRACK: Colour = (64, 68, 76)
POSITIVE: Colour = (92, 184, 232)
NEGATIVE: Colour = (240, 120, 104)
GOOD: Colour = (64, 200, 96)
FONT_SIZE = 12
LINE = 18
PAD = 6
BAR_HEIGHT = 8
GAUGE_TEXT = 74
VALUE_TEXT = 34


@cache
def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in face, so that films look alike on every machine."""
    return ImageFont.load_default(FONT_SIZE)


def fit_text(text: str, width: float) -> str:
    """`text`, cut with an ellipsis to at most `width` pixels."""
    if font().getlength(text) <= width:
        return text
    while text and font().getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def strip_height(record: RolloutRecord) -> int:
    """Pixels that the strip takes: a line for the clock and one for each thing recorded."""
    recorded = (record.success_probability, record.progress, record.actions)
    return LINE * (1 + sum(array is not None for array in recorded)) + PAD


def draw_strip(image: Image.Image, record: RolloutRecord, step: int, threshold: float) -> None:
    """Draw the strip into the lowest `strip_height(record)` rows of `image`."""
    draw = ImageDraw.Draw(image)
    y = image.height - strip_height(record) + 2
    last = record.length - 1
    clock = f"step {step}/{last}   {step / record.fps:.1f} s"
    draw.text((PAD, y), clock, fill=TEXT, font=font())
    if record.success_probability is not None:
        y += LINE
        value = _at(record.success_probability, step)
        colour = GOOD if value is not None and value >= threshold else POSITIVE
        _gauge(draw, image.width, y, "judge", value, colour, mark=threshold)
    if record.progress is not None:
        y += LINE
        _gauge(draw, image.width, y, "progress", _at(record.progress, step), POSITIVE)
    if record.actions is not None:
        y += LINE
        draw.text((PAD, y), "action", fill=DIM, font=font())
        if step < len(record.actions):
            _bars(draw, image.width, y, record.actions[step])


def _at(values: NDArray[np.floating] | None, step: int) -> float | None:
    if values is None or step >= len(values) or not np.isfinite(values[step]):
        return None
    return float(values[step])


def _gauge(
    draw: ImageDraw.ImageDraw,
    width: int,
    y: int,
    label: str,
    value: float | None,
    colour: Colour,
    mark: float | None = None,
) -> None:
    """A labelled bar from 0 to 1 with its value; `mark` draws a tick."""
    draw.text((PAD, y), label, fill=DIM, font=font())
    left, right = GAUGE_TEXT, width - PAD - VALUE_TEXT
    if value is None:
        return
    upper = y + (LINE - BAR_HEIGHT) // 2 - 1
    draw.rectangle((left, upper, right, upper + BAR_HEIGHT), fill=TRACK)
    filled = left + round((right - left) * min(max(value, 0.0), 1.0))
    if filled > left:
        draw.rectangle((left, upper, filled, upper + BAR_HEIGHT), fill=colour)
    if mark is not None:
        x = left + round((right - left) * mark)
        draw.line((x, upper - 2, x, upper + BAR_HEIGHT + 2), fill=TEXT)
    draw.text((right + 6, y), f"{value:.2f}", fill=TEXT, font=font())


def _bars(draw: ImageDraw.ImageDraw, width: int, y: int, action: NDArray[np.floating]) -> None:
    """One bar per dimension from the middle of its cell: right positive, left negative."""
    cell = (width - PAD - GAUGE_TEXT) / len(action)
    upper = y + (LINE - BAR_HEIGHT) // 2 - 1
    for i, value in enumerate(np.clip(np.nan_to_num(action), -1, 1)):
        left, right = GAUGE_TEXT + i * cell, GAUGE_TEXT + (i + 1) * cell - 4
        middle = (left + right) / 2
        draw.rectangle((left, upper, right, upper + BAR_HEIGHT), fill=TRACK)
        end = middle + float(value) * (right - left) / 2
        colour = POSITIVE if value >= 0 else NEGATIVE
        draw.rectangle((min(middle, end), upper, max(middle, end), upper + BAR_HEIGHT), fill=colour)
        draw.line((middle, upper, middle, upper + BAR_HEIGHT), fill=TEXT)
