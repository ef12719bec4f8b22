"""H.264 video files: how they are coded, and reads by integer frame index.

Frames are uint8 `[T, H, W, 3]` RGB. Every codec that PyAV's FFmpeg decodes can be read, AV1
included. Frames are addressed by their rank in presentation order; which ranks the rows of a data
set mean is a matter of their times (`worldsim.data.timing`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from worldsim.config.limits import Count, OneOf, between
from worldsim.config.values import Checked
from worldsim.errors import DataError

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
class VideoCodec(Checked):
    """How frames are encoded.

    Attributes:
        crf: constant rate factor; low, since objects of a few pixels must survive.
        gop: frames between key frames, so that a window can be read without its past.
        preset: x264's trade of speed against size.
    """

    crf: Annotated[int, between(0, 51)] = 8
    gop: Count = 4
    preset: Annotated[str, OneOf(lambda: PRESETS)] = "veryfast"

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
            "video.pix_fmt": pixel_format(height, width),
            "video.fps": fps,
            "video.channels": 3,
            "video.g": self.gop,
            "video.crf": self.crf,
            "video.preset": self.preset,
            "has_audio": False,
            "is_depth_map": False,
        }


def pixel_format(height: int, width: int) -> str:
    """How frames of a size are stored: halved colour needs even sides, full colour does not."""
    return "yuv444p" if height % 2 or width % 2 else "yuv420p"


@contextmanager
def decoding_errors(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors into DataErrors that name the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"no such video: {path}") from error
    except av.FFmpegError as error:
        raise DataError(f"{path} cannot be decoded ({error}); is it truncated?") from error


def stored_format(path: Path) -> str | None:
    """Pixel format of a video as FFmpeg names it, such as yuv420p or gray12le.

    Raises:
        DataError: missing, truncated, or without a video stream.
    """
    with decoding_errors(path), av.open(str(path)) as container:
        return _video_stream(container, path).codec_context.pix_fmt


def is_depth_format(form: str | None) -> bool:
    """Whether frames of a pixel format hold grey of more than 8 bits, as depth does."""
    return form is not None and form.startswith("gray") and form not in ("gray", "gray8")


def _video_stream(container: Any, path: Path) -> av.VideoStream:
    if not container.streams.video:
        container.close()
        raise DataError(f"{path} holds no video stream")
    return cast(av.VideoStream, container.streams.video[0])


class VideoFile:
    """A video opened for reading by frame index.

    Attributes:
        path: the file.
        pts: `[F]` presentation times of its frames in stream ticks, ascending.
        key_pts: the ticks at which decoding can start.
        height: pixels.
        width: pixels.
        fps: average rate as the file states it.
        stream: as a template for copies.
    """

    def __init__(self, path: Path) -> None:
        """Open and index `path` (packets are listed, nothing is decoded).

        Raises:
            DataError: missing, truncated, or without a video stream.
        """
        self.path = path
        with decoding_errors(path):
            self._container = av.open(str(path))
            self.stream = _video_stream(self._container, path)
            pts, keys, sizes = [], [], []
            for packet in self._container.demux(self.stream):
                if packet.pts is None or packet.is_discard:
                    continue
                pts.append(packet.pts)
                sizes.append(packet.size)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        order = np.argsort(np.asarray(pts, np.int64))
        self.pts = np.asarray(pts, np.int64)[order]
        if (np.diff(self.pts) == 0).any():
            self._container.close()
            raise DataError(f"{path} holds several frames of one time; encode it anew")
        self._ends = np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64)[order])])
        self.key_pts = frozenset(keys)
        self.height, self.width = self.stream.height, self.stream.width
        self.fps = self.stream.average_rate or Fraction(0)
        self.codec_name: str = self.stream.codec_context.name
        if self.height * self.width >= SMALL_FRAME:
            self.stream.thread_type = "AUTO"
        else:
            self.stream.codec_context.thread_count = 1
        self._converter = Converter()

    @cached_property
    def times(self) -> NDArray[np.float64]:
        """`[F]` presentation times in seconds."""
        return np.asarray(self.pts * float(self.stream.time_base or 0), np.float64)

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
        frames = np.empty((count, self.height, self.width, 3), np.uint8)
        for row, frame in enumerate(self.each(np.arange(first, first + count))):
            frames[row] = frame
        return frames

    def each(self, numbers: NDArray[np.int64]) -> Iterator[Pixels]:
        """Frames `numbers` `[N]`, ascending, one uint8 `[H, W, 3]` at a time.

        Nothing else may be read meanwhile.

        Raises:
            DataError: the file holds no such frame, or a frame does not decode.
        """
        first, last = int(numbers[0]), int(numbers[-1])
        self.check_holds(first, last - first + 1)
        wanted = [int(tick) for tick in self.pts[numbers]]
        done = 0
        with decoding_errors(self.path):
            self._container.seek(wanted[0], stream=self.stream, backward=True)
            for frame in self._container.decode(self.stream):
                if frame.pts == wanted[done]:
                    yield self._rgb(frame)
                    done += 1
                    if done == len(wanted):
                        return
        raise DataError(
            f"{self.path}: {len(wanted) - done} of frames {first} to {last} do not decode; "
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
            self._container.seek(int(self.pts[first]), stream=self.stream, backward=True)
            yield from self._container.demux(self.stream)

    def close(self) -> None:
        """Release the decoder and the file."""
        self._container.close()

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def read_video(path: Path) -> Pixels:
    """All frames of a file, uint8 `[F, H, W, 3]`.

    Raises:
        DataError: see `VideoFile`.
    """
    with VideoFile(path) as video:
        return video.read(0, video.frame_count)
