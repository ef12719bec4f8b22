"""Writing H.264 video files: frame by frame, or joined from packets that others hold.

Cut and joined at the packet level, a film has no second generation of codec loss.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import exact_rate
from worldsim.data.layout import MEBIBYTE, VIDEO_PATH, Limits, Slot
from worldsim.data.statistics import (
    FeatureStatistics,
    image_statistics,
    pixel_histogram,
    sample_rows,
)
from worldsim.data.video import (
    Converter,
    Pixels,
    VideoCodec,
    VideoFile,
    is_depth_format,
    pixel_format,
    stored_format,
)
from worldsim.errors import DataError, UsageError
from worldsim.files import atomic_path


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


class CutError(DataError):
    """A segment does not start at a key frame, so its packets cannot be copied."""


@dataclass(frozen=True)
class VideoSegment:
    """Frames `first` to `first + count` of a file."""

    path: Path
    first: int
    count: int


class VideoJoiner:
    """Appends segments to one MP4 by copying packets.

    Args:
        path: file to write; the caller decides about atomicity.
        fps: frame rate of every segment.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self.frame_count = 0
        self.bytes = 0
        self._output: Any = None
        self._stream: Any = None
        self._signature: tuple[Any, ...] | None = None

    def append(self, source: VideoFile, first: int, count: int) -> bool:
        """Append frames of `source`; False, with nothing written, if it was encoded otherwise.

        Raises:
            DataError: the source holds fewer frames.
            CutError: the frames cannot be cut out without decoding.
        """
        source.check_holds(first, count)
        context = source.stream.codec_context
        size = (context.name, context.width, context.height)
        signature = (*size, source.stream.time_base, bytes(context.extradata or b""))
        if self._signature not in (None, signature):
            return False
        packets = self._cut(source, first, count)
        if self._output is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._output = av.open(str(self.path), "w")
            # Opaque: the decoder's name, such as libdav1d, need not be an encoder's.
            self._stream = self._output.add_stream_from_template(source.stream, opaque=True)
            self._stream.time_base = source.stream.time_base
            self._signature = signature
        for packet in packets:
            packet.stream = self._stream
            self._output.mux(packet)
            self.bytes += packet.size
        self.frame_count += count
        return True

    def _cut(self, source: VideoFile, first: int, count: int) -> "list[av.Packet[Any]]":
        """Packets of the frames in decoding order, timed to follow what is already written."""
        pts = source.pts[first : first + count]
        tick = 1 / (exact_rate(self.fps) * cast(Fraction, source.stream.time_base))
        if int(pts[0]) not in source.key_pts or tick.denominator != 1:
            raise CutError(f"{source.path}: cannot cut at frame {first}, it is no key frame")
        rank = {int(time): row for row, time in enumerate(pts)}
        packets: list[av.Packet[Any]] = []
        for packet in source.packets(first):
            if packet.pts not in rank:
                raise CutError(f"{source.path}: frames are reordered across frame {first}")
            lag = packet.pts - (packet.pts if packet.dts is None else packet.dts)
            packet.pts = (self.frame_count + rank[packet.pts]) * tick.numerator
            packet.dts = packet.pts - lag
            packet.duration = tick.numerator
            packets.append(packet)
            if len(packets) == count:
                break
        return packets

    def close(self) -> None:
        """Write the index; the file is unreadable before."""
        if self._output is not None:
            self._output.close()


class VideoSink:
    """Segments of one camera appended to a sequence of MP4 files."""

    def __init__(self, root: Path, key: str, fps: float, limits: Limits) -> None:
        self.root, self.key, self.fps, self.limits = root, key, fps, limits
        self.slot = Slot()
        self._joiner = self._new_joiner()
        self._source: VideoFile | None = None
        self.histogram = np.zeros((3, 256), np.int64)
        self.sampled = 0

    def _new_joiner(self) -> VideoJoiner:
        return VideoJoiner(self.root / self.slot.path(VIDEO_PATH, video_key=self.key), self.fps)

    def write(self, segment: VideoSegment) -> tuple[Slot, int, FeatureStatistics]:
        """Append `segment`; returns file, first frame in it, and statistics of sampled frames."""
        source = self._open(segment.path)
        source.check_holds(segment.first, segment.count)
        size = source.size_bytes(segment.first, segment.count)
        limit = self.limits.video_files_size_in_mb * MEBIBYTE
        if self._joiner.bytes and self._joiner.bytes + size > limit:
            self._next_file()
        self._append(source, segment)
        rows = [source.read(segment.first + i, 1) for i in sample_rows(segment.count)]
        histogram = pixel_histogram(np.concatenate(rows))
        self.histogram += histogram
        self.sampled += len(rows)
        first = self._joiner.frame_count - segment.count
        return self.slot, first, image_statistics(histogram, len(rows))

    def _append(self, source: VideoFile, segment: VideoSegment) -> None:
        """Copy the packets; segments encoded otherwise open a file, uncuttable ones re-encode."""
        try:
            if not self._joiner.append(source, segment.first, segment.count):
                self._next_file()
                self._joiner.append(source, segment.first, segment.count)
        except CutError:
            with TemporaryDirectory(dir=self.root) as folder:
                own = reencode(segment, Path(folder) / "cut.mp4", self.fps)
                with VideoFile(own.path) as recoded:
                    self._append(recoded, own)

    def _next_file(self) -> None:
        self._joiner.close()
        self.slot = self.slot.next(self.limits.chunks_size)
        self._joiner = self._new_joiner()

    def _open(self, path: Path) -> VideoFile:
        if self._source is None or self._source.path != path:
            if self._source is not None:
                self._source.close()
            self._source = VideoFile(path)
        return self._source

    def close(self) -> None:
        """Write the index of the open file."""
        self._joiner.close()
        if self._source is not None:
            self._source.close()


def reencode(segment: VideoSegment, path: Path, fps: float) -> VideoSegment:
    """Decode `segment` and encode it as a file of its own at `path`."""
    return rewrite(segment.path, np.arange(segment.first, segment.first + segment.count), path, fps)


def rewrite(source: Path, numbers: NDArray[np.int64], path: Path, fps: float) -> VideoSegment:
    """Decode the frames `numbers` of `source` and encode them as a file of its own at `path`.

    Raises:
        DataError: `source` holds depth, which H.264 in colour would destroy.
    """
    form = stored_format(source)
    if is_depth_format(form):
        raise DataError(f"{source} holds depth ({form}), which cannot be encoded anew")
    with VideoFile(source) as video, atomic_path(path) as temporary:
        encode_video(temporary, video.each(numbers), fps)
    return VideoSegment(path, 0, len(numbers))
