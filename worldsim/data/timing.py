"""Which frames of a video the rows of an episode mean: those of their times, as in LeRobot.

A row at t seconds of its episode means the frame at t seconds after the episode's beginning in the
file, whatever the rate of the file. Numbers of rows and frames agree only where the rates do.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldsim.data.video import VideoFile
from worldsim.errors import DataError

TOLERANCE = 0.1
"""Share of the time between two rows by which a frame, or a row's own time, may miss it.

Stored times drift by thousandths of a second. A film of another rate misses by far more.
"""

Times = NDArray[np.float64]


def row_times(table: pa.Table, fps: float) -> Times:
    """`[N]` seconds since the episode's beginning: column `timestamp`, or else by the rate."""
    if "timestamp" not in table.column_names:
        return np.arange(len(table)) / fps
    return np.asarray(table["timestamp"].to_numpy(), np.float64).reshape(len(table))


def frames_at(video: VideoFile, start: float, times: Times, fps: float) -> NDArray[np.int64]:
    """`[N]` numbers of the frames nearest to `start + times`, ascending.

    Args:
        video: the file.
        start: the episode's beginning in it, in seconds.
        times: `[N]` of the rows, in seconds since then.
        fps: rate of the rows.

    Raises:
        DataError: the file ends before, or holds no frame at one of the times.
    """
    wanted = start + times
    if not video.frame_count:
        raise DataError(f"{video.path} holds no frames; is it truncated?")
    after = np.searchsorted(video.times, wanted).clip(1, max(video.frame_count - 1, 1))
    before = after - 1
    after = np.minimum(after, video.frame_count - 1)
    closer = video.times[after] - wanted < wanted - video.times[before]
    numbers = np.where(closer, after, before).astype(np.int64)
    missed = np.abs(video.times[numbers] - wanted)
    if (missed > TOLERANCE / fps).any():
        raise DataError(_missing(video, wanted, numbers, missed, fps))
    return numbers


def _missing(
    video: VideoFile,
    wanted: Times,
    numbers: NDArray[np.int64],
    missed: Times,
    fps: float,
) -> str:
    """What to say of the first row that has no frame."""
    row = int(np.flatnonzero(missed > TOLERANCE / fps)[0])
    last = float(video.times[-1])
    if wanted[row] > last:
        return (
            f"truncated: {video.path} needs frames up to {wanted[-1]:.6g} s, the file holds "
            f"{video.frame_count}, the last at {last:.6g} s"
        )
    return (
        f"{video.path} holds no frame at {wanted[row]:.6g} s for row {row}, the nearest is at "
        f"{video.times[numbers[row]]:.6g} s (the video runs at {float(video.fps):.4g} fps, the "
        f"rows at {fps:.4g}); encode it at a multiple of the rows' rate"
    )
