"""H.264 video files: whole writes, and reads by integer frame index.

Frames are uint8 `[T, H, W, 3]` RGB. Every codec that PyAV's FFmpeg decodes can be read, AV1
included. Frames are addressed by their rank in presentation order, never by seconds: a float
timestamp that drifts by a thousandth of a second would otherwise name the neighbouring frame.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from worldsim.errors import DataError, UsageError, unknown_name
from worldsim.rates import exact_rate

Pixels = NDArray[np.uint8]
SMALL_FRAME = 256 * 256
"""Pixels below which threads inside the codec cost more than they bring."""


class Converter:
    """Pixel format conversion on the calling thread: handing small frames over takes longer."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._options: dict[str, Any] = {"threads": 1}

    def convert(self, frame: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
        """`frame` in another pixel format."""
        try:
            return self._reformatter.reformat(frame, format=pixel_format, **self._options)
        except TypeError:  # older PyAV always uses one thread
            if not self._options:
                raise
            self._options = {}
            return self.convert(frame, pixel_format)


PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)


@dataclass(frozen=True)
class VideoCodec:
    """How frames are encoded.

    Attributes:
        crf: constant rate factor; low, since objects of a few pixels must survive.
        gop: frames between key frames, so that a window can be read without its past.
        preset: x264's trade of speed against size.
    """

    crf: int = 8
    gop: int = 4
    preset: str = "veryfast"

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51 or self.gop < 1:
            raise UsageError(
                f"codec: crf is {self.crf}, gop {self.gop}; x264 takes crf 0 to 51, gop from 1"
            )
        if self.preset not in PRESETS:
            raise unknown_name("codec preset", self.preset, PRESETS)

    def options(self) -> dict[str, str]:
        """x264 options.

        No B-frames, so that packets can be cut and joined at key frames. No macroblock tree: its
        lookahead reads memory it has not written, so that one episode in fifty or so came out
        with other bytes each time it was encoded.
        """
        return {
            "crf": str(self.crf),
            "preset": self.preset,
            "g": str(self.gop),
            "bf": "0",
            "x264-params": "mbtree=0:rc-lookahead=0",
        }

    def info(self, height: int, width: int, fps: float) -> dict[str, Any]:
        """The `info` entry of a LeRobot video feature."""
        return {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.fps": fps,
            "video.channels": 3,
            "video.g": self.gop,
            "video.crf": self.crf,
            "video.preset": self.preset,
            "has_audio": False,
            "is_depth_map": False,
        }


def encode_video(path: Path, frames: Pixels, fps: float, codec: VideoCodec | None = None) -> None:
    """Write `frames` uint8 `[T, H, W, 3]` as H.264 in MP4 (or what the suffix of `path` says).

    The caller decides about atomicity (`worldsim.files.atomic_path`).

    Raises:
        UsageError: frames are not uint8 RGB, are empty, or have an odd height or width.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise UsageError(
            f"{path}: expected uint8 frames [T, H, W, 3], got {frames.dtype} {frames.shape}"
        )
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise UsageError(f"{path}: H.264 needs even frame sizes, got {height}x{width}")
    codec = codec or VideoCodec()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=exact_rate(fps), options=codec.options())
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1  # output must not depend on the machine's cores
        converter = Converter()
        for array in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            container.mux(stream.encode(converter.convert(frame, "yuv420p")))
        container.mux(stream.encode())


@contextmanager
def decoding_errors(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors into DataErrors that name the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"no such video: {path}") from error
    except av.FFmpegError as error:
        raise DataError(f"{path} cannot be decoded ({error}); is it truncated?") from error


class VideoFile:
    """A video opened for reading by frame index.

    Attributes:
        path: the file.
        pts: `[F]` presentation times of its frames in stream ticks, ascending.
        key_pts: the ticks at which decoding can start.
        height: pixels.
        width: pixels.
        fps: average rate as the file states it.
    """

    def __init__(self, path: Path) -> None:
        """Open and index `path` (packets are listed, nothing is decoded).

        Raises:
            DataError: missing, truncated, or without a video stream.
        """
        self.path = path
        with decoding_errors(path):
            self._container = av.open(str(path))
            if not self._container.streams.video:
                self._container.close()
                raise DataError(f"{path} holds no video stream")
            self._stream = self._container.streams.video[0]
            pts, keys, sizes = [], [], []
            for packet in self._container.demux(self._stream):
                if packet.pts is None or packet.is_discard:
                    continue
                pts.append(packet.pts)
                sizes.append(packet.size)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        order = np.argsort(np.asarray(pts, np.int64))
        self.pts = np.asarray(pts, np.int64)[order]
        self._ends = np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64)[order])])
        self.key_pts = frozenset(keys)
        self.height, self.width = self._stream.height, self._stream.width
        self.fps = self._stream.average_rate or Fraction(0)
        self.codec_name: str = self._stream.codec_context.name
        if self.height * self.width >= SMALL_FRAME:
            self._stream.thread_type = "AUTO"
        else:
            self._stream.codec_context.thread_count = 1
        self._converter = Converter()

    @property
    def frame_count(self) -> int:
        """F, frames actually present (not what the header promises)."""
        return len(self.pts)

    def check_holds(self, first: int, count: int) -> None:
        """Refuse a range that the file does not hold.

        Raises:
            DataError: names the file and both counts.
        """
        if first < 0 or count < 1 or first + count > self.frame_count:
            raise DataError(
                f"{self.path} holds {self.frame_count} frames, but frames {first} to "
                f"{first + count} were asked for; is it truncated?"
            )

    def size_bytes(self, first: int, count: int) -> int:
        """Coded size of some frames."""
        return int(self._ends[first + count] - self._ends[first])

    def read(self, first: int, count: int) -> Pixels:
        """Frames `first` to `first + count`, uint8 `[count, H, W, 3]`.

        Raises:
            DataError: the file holds fewer frames, or a frame does not decode.
        """
        self.check_holds(first, count)
        frames = np.empty((count, self.height, self.width, 3), np.uint8)
        wanted = {int(tick): row for row, tick in enumerate(self.pts[first : first + count])}
        with decoding_errors(self.path):
            self._container.seek(int(self.pts[first]), stream=self._stream, backward=True)
            for frame in self._container.decode(self._stream):
                row = wanted.pop(cast(int, frame.pts), None)
                if row is not None:
                    frames[row] = self._rgb(frame)
                if not wanted:
                    return frames
        raise DataError(
            f"{self.path}: {len(wanted)} of frames {first} to {first + count} do not decode; "
            "is it truncated?"
        )

    def _rgb(self, frame: av.VideoFrame) -> Pixels:
        rgb = self._converter.convert(frame, "rgb24")
        array = cast(Pixels, rgb.to_ndarray())
        if array.shape != (self.height, self.width, 3):
            raise DataError(f"{self.path}: frame size changes to {array.shape} inside the file")
        return array

    def packets(self, first: int) -> "Iterator[av.Packet[Any]]":
        """Coded packets in decoding order, from key frame `first` to the end of the file."""
        with decoding_errors(self.path):
            self._container.seek(int(self.pts[first]), stream=self._stream, backward=True)
            yield from self._container.demux(self._stream)

    @property
    def stream(self) -> av.VideoStream:
        """The stream, as a template for copies."""
        return self._stream

    def close(self) -> None:
        """Release the decoder and the file."""
        self._container.close()

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_video(path: Path) -> Pixels:
    """All frames of a file, uint8 `[F, H, W, 3]`.

    Raises:
        DataError: see `VideoFile`.
    """
    with VideoFile(path) as video:
        return video.read(0, video.frame_count)
