"""Which cameras of a data set show colour, and the images that lie inside its parquet rows.

A table may call a depth map an image. Shown as colour, all of it would be white.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldsim.data.faults import Fault
from worldsim.data.features import ImageFeature, is_called_depth
from worldsim.data.layout import INFO
from worldsim.data.records import DatasetIndex, EpisodeRecord
from worldsim.data.video import Pixels, is_depth_format, stored_format
from worldsim.errors import DataError

DEEP_MODES = ("I", "F")
"""First letters of Pillow's modes that hold more than 8 bits a pixel, such as I;16."""


def decoded_images(column: pa.ChunkedArray, where: str) -> Iterator[Pixels]:
    """Colour images of a column one by one, uint8 `[H, W, 3]`.

    Args:
        column: one value a frame.
        where: what the column is, for messages.

    Raises:
        DataError: an image does not decode, holds more than 8 bits a pixel, or is of another size
            than the first.
    """
    size = None
    for number, value in enumerate(column):
        place = f"{where}, frame {number}"
        image = _open(value.as_py(), place)
        if image.mode.startswith(DEEP_MODES):
            raise DataError(
                f"{place}: the image has mode {image.mode}, more than 8 bits a pixel, as depth "
                "has; expected a colour image"
            )
        size = size or image.size
        if image.size != size:
            raise DataError(f"{place}: the image is {image.size} wide and high, the first {size}")
        yield np.asarray(_decoded(image, place))


def mode_of(value: Any) -> str | None:
    """Pillow's mode of a stored image; None where it cannot be opened."""
    try:
        return str(_open(value, "").mode)
    except DataError:
        return None


def _open(value: Any, where: str) -> Any:
    """Read the header of an image."""
    from PIL import Image, UnidentifiedImageError

    stored = value.get("bytes") if isinstance(value, dict) else None
    if not isinstance(stored, bytes):
        raise DataError(f"{where}: expected the bytes of an image, found none")
    try:
        return Image.open(io.BytesIO(stored))
    except UnidentifiedImageError as error:
        raise DataError(f"{where}: its bytes are no image, or one cut short") from error
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: the image does not decode ({error})") from error


def _decoded(image: Any, where: str) -> Any:
    """Read the pixels of an image, as RGB."""
    try:
        return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise DataError(f"{where}: the image does not decode ({error})") from error


def black_frames(camera: ImageFeature, count: int) -> Iterator[Pixels]:
    """What a camera shows in an episode that it is missing in, as merged sets have it."""
    frame = np.zeros((camera.height, camera.width, 3), np.uint8)
    return (frame.copy() for _ in range(count))


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
    films = (record.videos[key].path for record in records if key in record.videos)
    path = next((film for film in films if film.exists()), None)
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
