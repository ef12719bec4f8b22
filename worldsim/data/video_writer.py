"""Writing H.264 video files, frame by frame."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np

from worldsim.conventions import exact_rate
from worldsim.data.video import Converter, Pixels, VideoCodec, pixel_format
from worldsim.errors import UsageError


class VideoWriter:
    """Writes H.264 in MP4 (or what the suffix says), frame by frame; a context manager.

    The first frame fixes the size. The caller decides about atomicity
    (`worldsim.files.atomic_path`).

    Args:
        path: file to write.
        fps: frame rate.
        codec: how frames are encoded.
    """

    def __init__(self, path: Path, fps: float, codec: VideoCodec | None = None) -> None:
        self.path, self.fps, self.codec = path, fps, codec or VideoCodec()
        self.count = 0
        self._shape: tuple[int, ...] = ()
        self._converter = Converter()
        self._container: Any = None
        self._stream: Any = None

    def write(self, frame: Pixels) -> None:
        """Append a frame, uint8 `[H, W, 3]`.

        Raises:
            UsageError: it is not uint8 RGB, or of another size than the first.
        """
        shape = self._shape or (*frame.shape[:2], 3)
        if frame.dtype != np.uint8 or frame.shape != shape or 0 in shape:
            expected = shape if self._shape else "[H, W, 3]"
            raise UsageError(
                f"{self.path}: expected uint8 frames {expected}, got {frame.dtype} {frame.shape}"
            )
        if self._container is None:
            self._open(*frame.shape[:2])
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        converted = self._converter.convert(picture, self._stream.pix_fmt)
        self._container.mux(self._stream.encode(converted))
        self.count += 1

    def _open(self, height: int, width: int) -> None:
        self._shape = (height, width, 3)
        self._container = av.open(str(self.path), "w")
        rate, options = exact_rate(self.fps), self.codec.options()
        stream = self._container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = width, height
        stream.pix_fmt = pixel_format(height, width)
        stream.codec_context.thread_count = 1  # output must not depend on the machine's cores
        self._stream = stream

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, failed: object, *error: object) -> None:
        if self._container is not None:
            if failed is None:
                self._container.mux(self._stream.encode())
            self._container.close()


def encode_video(
    path: Path, frames: Iterable[Pixels], fps: float, codec: VideoCodec | None = None
) -> None:
    """Write `frames`, each uint8 `[H, W, 3]`, with a `VideoWriter`.

    Raises:
        UsageError: there is none, or one is not uint8 RGB or of another size.
    """
    with VideoWriter(path, fps, codec) as writer:
        for frame in frames:
            writer.write(frame)
    if not writer.count:
        raise UsageError(f"{path}: there are no frames to write")
