"""How a video stores its pixels, which tells depth from colour."""

from pathlib import Path

import av

from worldsim.data.video import decoding_errors
from worldsim.errors import DataError


def stored_format(path: Path) -> str | None:
    """Pixel format of a video as FFmpeg names it, such as yuv420p or gray12le.

    Raises:
        DataError: missing, truncated, or without a video stream.
    """
    with decoding_errors(path), av.open(str(path)) as container:
        if not container.streams.video:
            raise DataError(f"{path} holds no video stream")
        return container.streams.video[0].codec_context.pix_fmt


def is_depth_format(form: str | None) -> bool:
    """Whether frames of a pixel format hold grey of more than 8 bits, as depth does."""
    return form is not None and form.startswith("gray") and form not in ("gray", "gray8")
