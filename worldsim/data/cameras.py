"""Which cameras of a data set show colour, as its files themselves say.

A table may call a depth map an image. Shown as colour, all of it would be white.
"""

from collections.abc import Sequence

import pyarrow.parquet as pq

from worldsim.data.faults import Fault
from worldsim.data.features import ImageFeature, is_called_depth
from worldsim.data.images import DEEP_MODES, mode_of
from worldsim.data.layout import INFO
from worldsim.data.records import DatasetIndex, EpisodeRecord
from worldsim.data.video import is_depth_format, stored_format
from worldsim.errors import DataError


def colour_cameras(index: DatasetIndex) -> tuple[tuple[ImageFeature, ...], list[Fault]]:
    """The cameras that show colour, and a warning for each that is left out."""
    kept, faults = [], []
    for camera in index.cameras:
        reason = _depth(camera, index)
        if reason is None:
            kept.append(camera)
        else:
            message = f"camera {camera.key} is left out: {reason}, so it shows depth and no colour"
            faults.append(Fault(INFO, None, message, "warning"))
    return tuple(kept), faults


def _depth(camera: ImageFeature, index: DatasetIndex) -> str | None:
    """What tells that a camera shows depth; None if nothing does."""
    if is_called_depth(index.info["features"][camera.key]):
        return "info.json calls it a depth map"
    if camera.video:
        form = _first_format(camera.key, index.records)
        return f"its video has pixel format {form}" if is_depth_format(form) else None
    mode = _first_mode(camera.key, index.records)
    return f"its images have mode {mode}" if mode and mode.startswith(DEEP_MODES) else None


def _first_format(key: str, records: Sequence[EpisodeRecord]) -> str | None:
    """Pixel format of the first film that is there; what cannot be read is told when it is used."""
    path = next((r.videos[key].path for r in records if r.videos[key].path.exists()), None)
    try:
        return None if path is None else stored_format(path)
    except DataError:
        return None


def _first_mode(key: str, records: Sequence[EpisodeRecord]) -> str | None:
    """Mode of the first stored image."""
    path = next((record.data for record in records if record.data.exists()), None)
    if path is None:
        return None
    try:
        batches = pq.ParquetFile(path).iter_batches(batch_size=1, columns=[key])
        first = next(iter(batches))
    except (OSError, StopIteration, ValueError):  # pyarrow's errors are among these
        return None
    return mode_of(first.column(0)[0].as_py()) if first.num_columns and len(first) else None
