"""Cutting and joining videos at the packet level: no second generation of codec loss."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import exact_rate
from worldsim.data.pixel_formats import is_depth_format, stored_format
from worldsim.data.video import VideoFile
from worldsim.data.video_writer import encode_video
from worldsim.errors import DataError
from worldsim.files import atomic_path


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
