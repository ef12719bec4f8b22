"""Finished films to files: MP4 that browsers play, or GIF."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from worldsim.conventions import exact_rate
from worldsim.errors import UsageError
from worldsim.files import atomic_path

Pixels = NDArray[np.uint8]

SUFFIXES = (".mp4", ".gif")
CRF = 20
BT709 = 1
"""Colours are converted and tagged as BT.709, or browsers guess by frame size."""


def write_frames(path: Path, frames: Iterable[Pixels], fps: float) -> None:
    """Write `frames`, each uint8 `[H, W, 3]`, whole or not at all, as the suffix of `path` says.

    MP4 is H.264 yuv420p with its index at the front; odd sizes gain a repeated row or column.
    Its frames are encoded as they come, so that a film may be longer than memory. GIF delays are
    whole hundredths of a second, and equal neighbours are merged into one longer frame.

    Raises:
        UsageError: no frames, wrong shape, or a suffix other than .mp4 and .gif.
    """
    if not 0 < fps <= 240:
        raise UsageError(f"{path.name}: cannot play at {fps} frames per second")
    if path.suffix not in SUFFIXES:
        raise UsageError(f"films are written as {' or '.join(SUFFIXES)}, not {path.name!r}")
    checked = _checked(frames, path.name)
    first = next(checked, None)
    if first is None:
        raise UsageError(f"{path.name}: expected uint8 frames [H, W, 3], got none")
    with atomic_path(path) as temporary:
        if path.suffix == ".mp4":
            _write_mp4(temporary, first, checked, fps)
        else:
            _write_gif(temporary, first, checked, fps)


def _checked(frames: Iterable[Pixels], name: str) -> Iterator[Pixels]:
    """The frames, each refused unless it is uint8 `[H, W, 3]` of the first one's size."""
    shape: tuple[int, ...] = ()
    for frame in frames:
        shape = shape or (*frame.shape[:2], 3)
        if frame.dtype != np.uint8 or frame.shape != shape or 0 in shape:
            raise UsageError(
                f"{name}: expected uint8 frames [H, W, 3] of one size, got {frame.dtype} "
                f"{frame.shape}"
            )
        yield frame


def _write_mp4(path: Path, first: Pixels, others: Iterator[Pixels], fps: float) -> None:
    height, width = first.shape[:2]
    odd = ((0, height % 2), (0, width % 2), (0, 0))
    options = {"crf": str(CRF), "preset": "medium", "tune": "animation"}
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=exact_rate(fps), options=options)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1  # the file must not depend on the machine's cores
        context.colorspace = context.color_primaries = context.color_trc = BT709
        reformatter = VideoReformatter()
        for array in chain([first], others):
            frame = av.VideoFrame.from_ndarray(np.pad(array, odd, mode="edge"), format="rgb24")
            converted = reformatter.reformat(
                frame, format="yuv420p", dst_colorspace=Colorspace.ITU709
            )
            container.mux(stream.encode(converted))
        container.mux(stream.encode())


def _write_gif(path: Path, first: Pixels, others: Iterator[Pixels], fps: float) -> None:
    delay = max(2, round(100 / fps)) * 10
    images = (Image.fromarray(frame) for frame in others)
    Image.fromarray(first).save(
        path, save_all=True, append_images=images, duration=delay, loop=0, optimize=False
    )
