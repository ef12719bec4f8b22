"""A played nano world, served in this process."""

import json
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from imagination_testing import nano_judge, nano_starts
from numpy.typing import NDArray
from worldsim_testing import nano_model, nano_spec

from worldsim.envs.imagination import FrameStarts
from worldsim.play.recording import TapeLimits
from worldsim.play.server import build_app, listen
from worldsim.play.session import PlaySession
from worldsim.sampling.sampler import Sampler


def new_session(sampler: Sampler | None = None) -> PlaySession:
    """Without a simulator; two denoising steps, frame by frame."""
    starts = FrameStarts(nano_starts(), nano_spec())
    return PlaySession(nano_model(), nano_judge(), starts, None, sampler or Sampler(steps=1))


def unpack_frame(message: bytes) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Header and image of the binary message of one frame."""
    (length,) = struct.unpack_from("<I", message)
    encoded = np.frombuffer(message, np.uint8, offset=4 + length)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert image is not None, "the frame's image does not decode"
    return json.loads(message[4 : 4 + length]), np.asarray(image[..., ::-1], np.uint8)


@dataclass(frozen=True)
class Served:
    """A running server: where it is and where its recordings go."""

    address: str
    out: Path

    @property
    def websocket(self) -> str:
        return f"ws://{self.address}/play"


@contextmanager
def serving(
    out: Path, make: Callable[[], PlaySession], max_sessions: int, limits: TapeLimits | None = None
) -> Iterator[Served]:
    import uvicorn

    listener = listen("127.0.0.1", 0)
    app = build_app(make, out, max_sessions, limits=limits)
    config = uvicorn.Config(app, log_level="error", ws="websockets-sansio", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    try:
        yield Served(f"127.0.0.1:{listener.getsockname()[1]}", out)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listener.close()
