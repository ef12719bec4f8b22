"""Messages between a policy server and a client: which keys they have, and how much they hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.spec import WorldSpec

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class RemoteMapping:
    """Names of one row's observation in openpi messages.

    Attributes:
        images: {our camera: the server's key}; an empty map sends every camera as
            `observation/<camera>`.
        state: {the server's key: columns of `agent_pos`}; no columns means all of them.
        prompt: the server's key of the task text.
        image_size: side in pixels to which images are scaled and padded, keeping their aspect,
            as openpi's clients do; 0 sends them as they are.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, Sequence[int]] = field(default_factory=lambda: {"observation/state": ()})
    prompt: str = "prompt"
    image_size: int = 0

    def camera_keys(self, cameras: Sequence[str]) -> dict[str, str]:
        """{camera: key} for the cameras to send.

        Raises:
            UsageError: a camera is mapped that does not exist.
        """
        unknown = sorted(set(self.images) - set(cameras))
        if unknown:
            raise UsageError(f"remote mapping names cameras {unknown}; there are {list(cameras)}")
        return dict(self.images) or {name: f"observation/{name}" for name in cameras}

    def encode(self, observation: Observation, row: int) -> dict[str, Any]:
        """One row of a batched observation as an openpi request."""
        pixels = observation["pixels"]
        agent_pos = np.asarray(observation["agent_pos"], np.float32)[row]
        message: dict[str, Any] = {self.prompt: str(observation["task"][row])}
        for camera, key in self.camera_keys(sorted(pixels)).items():
            image = np.ascontiguousarray(pixels[camera][row])
            message[key] = resize_with_pad(image, self.image_size) if self.image_size else image
        for key, columns in self.state.items():
            if any(not 0 <= column < len(agent_pos) for column in columns):
                raise UsageError(
                    f"remote mapping takes columns {list(columns)} of agent_pos for {key!r}, "
                    f"which has {len(agent_pos)}"
                )
            message[key] = agent_pos[list(columns)] if len(columns) else agent_pos
        return message

    def decode(self, message: Mapping[str, Any], cameras: Sequence[str]) -> dict[str, Any]:
        """An openpi request as a batched observation of one row; inverse of `encode`.

        Raises:
            UsageError: a key is missing.
        """
        keys = self.camera_keys(cameras)
        missing = [key for key in (*keys.values(), *self.state) if key not in message]
        if missing:
            raise UsageError(f"request lacks {missing}; it has {sorted(map(str, message))}")
        columns: dict[int, float] = {}
        for key, wanted in self.state.items():
            values = np.atleast_1d(np.asarray(message[key], np.float32))
            columns.update(zip(wanted or range(len(values)), values.tolist(), strict=True))
        agent_pos = np.asarray([columns.get(i, 0.0) for i in range(max(columns, default=-1) + 1)])
        return {
            "pixels": {name: np.asarray(message[key])[None] for name, key in keys.items()},
            "agent_pos": agent_pos.astype(np.float32)[None],
            "task": [str(message.get(self.prompt, ""))],
        }


def resize_with_pad(image: Image, size: int) -> Image:
    """Scale uint8 `[H, W, 3]` to fit `[size, size, 3]` and pad with black on both sides."""
    import cv2

    height, width = image.shape[:2]
    ratio = size / max(height, width)
    new_height, new_width = max(1, round(height * ratio)), max(1, round(width * ratio))
    method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(image, (new_width, new_height), interpolation=method)
    rows, columns = size - new_height, size - new_width
    border = (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)
    return np.asarray(cv2.copyMakeBorder(scaled, *border, cv2.BORDER_CONSTANT), np.uint8)


MOST_ENVS = 2**16
"""Env ids of clients are below this, so that what a policy keeps of them is bounded."""
MOST_ROWS = 256
_BATCH_BYTES = 1 << 26
_LONGEST_CHUNK, _WIDEST_ACTION = 256, 32
_WIDEST_NUMBER = 8
_LONGEST_TASK = 4096
_REST = 1 << 20
"""Bytes for whatever else a message says: keys, a server's metadata."""


def _row_bytes(spec: WorldSpec) -> int:
    pixels = sum(camera.height * camera.width * 3 for camera in spec.cameras)
    return pixels + spec.agent_pos.dim * _WIDEST_NUMBER + _LONGEST_TASK


def rows_per_message(spec: WorldSpec) -> int:
    """Most envs that one message is about; a client with more of them sends several."""
    return max(1, min(MOST_ROWS, _BATCH_BYTES // _row_bytes(spec)))


def largest_request(spec: WorldSpec) -> int:
    """Bytes of an observation of that many envs, twice: openpi's clients may send more."""
    return _REST + 2 * rows_per_message(spec) * _row_bytes(spec)


def largest_reply(spec: WorldSpec) -> int:
    """Bytes of the longest action chunks for that many envs; openpi's servers pad their actions."""
    width = max(spec.action.dim, _WIDEST_ACTION)
    return _REST + rows_per_message(spec) * _LONGEST_CHUNK * width * _WIDEST_NUMBER
