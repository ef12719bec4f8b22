"""Images stored inside parquet rows, as struct{bytes, path}."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from worldsim.data.video import Pixels
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
