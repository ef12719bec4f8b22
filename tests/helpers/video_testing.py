"""Videos as others encode them, shared by tests."""

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


def write_with(path: Path, frames: NDArray[np.uint8], codec: str, options: dict[str, str]) -> None:
    """Encode as third parties do."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for array in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode())
