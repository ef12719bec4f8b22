"""Finished films to files: MP4 that browsers play, or GIF."""

from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from worldsim.errors import UsageError
from worldsim.files import atomic_path
from worldsim.rates import exact_rate

Pixels = NDArray[np.uint8]

SUFFIXES = (".mp4", ".gif")
CRF = 20
BT709 = 1
"""Colours are converted and tagged as BT.709, or browsers guess by frame size."""


def write_frames(path: Path, frames: Pixels, fps: float) -> None:
    """Write `frames` uint8 `[T, H, W, 3]` whole or not at all, as the suffix of `path` says.

    MP4 is H.264 yuv420p with its index at the front; odd sizes gain a repeated row or column.
    GIF delays are whole hundredths of a second, and equal neighbours are merged into one longer
    frame.

    Raises:
        UsageError: no frames, wrong shape, or a suffix other than .mp4 and .gif.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise UsageError(
            f"{path.name}: expected uint8 frames [T, H, W, 3], got {frames.dtype} {frames.shape}"
        )
    if not 0 < fps <= 240:
        raise UsageError(f"{path.name}: cannot play at {fps} frames per second")
    if path.suffix not in SUFFIXES:
        raise UsageError(f"films are written as {' or '.join(SUFFIXES)}, not {path.name!r}")
    with atomic_path(path) as temporary:
        if path.suffix == ".mp4":
            _write_mp4(temporary, frames, fps)
        else:
            _write_gif(temporary, frames, fps)


def _write_mp4(path: Path, frames: Pixels, fps: float) -> None:
    height, width = frames.shape[1:3]
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    options = {"crf": str(CRF), "preset": "medium", "tune": "animation"}
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=exact_rate(fps), options=options)
        stream.width, stream.height, stream.pix_fmt = even.shape[2], even.shape[1], "yuv420p"
        context = stream.codec_context
        context.thread_count = 1  # the file must not depend on the machine's cores
        context.colorspace = context.color_primaries = context.color_trc = BT709
        reformatter = VideoReformatter()
        for array in even:
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            converted = reformatter.reformat(
                frame, format="yuv420p", dst_colorspace=Colorspace.ITU709
            )
            container.mux(stream.encode(converted))
        container.mux(stream.encode())


def _write_gif(path: Path, frames: Pixels, fps: float) -> None:
    delay = max(2, round(100 / fps)) * 10
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=delay, loop=0, optimize=False
    )
