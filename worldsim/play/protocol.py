"""Messages between page and server.

From the page, JSON text: `{"type": "action", "value": [A numbers], "t": page's clock}`,
`{"type": "reset", "seed": n}`, `{"type": "pause", "on": bool}`, `{"type": "step"}`,
`{"type": "sampler", "kind": name, "steps": n}`, `{"type": "record", "on": bool}`,
`{"type": "seen", "frame": n}`.

To the page: JSON text (`hello`, `error`, `recorded`, `state`), and for every frame one binary
message: length of a JSON header (4 bytes, little endian), the header, an image of the views' grid.
"""

import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from worldsim.errors import UsageError
from worldsim.play.session import Pixels, PlayObservation

KINDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "action": {"value": list, "t": (int, float)},
    "reset": {"seed": int},
    "pause": {"on": bool},
    "step": {},
    "sampler": {"kind": str, "steps": int},
    "record": {"on": bool},
    "seen": {"frame": int},
}
LOSSLESS_PIXELS = 1 << 18
"""Grids up to this many pixels are sent as PNG, larger ones as JPEG."""
LARGEST_MESSAGE = 1 << 14
"""Bytes of a message from the page."""
MOST_SEED = 2**31
LARGEST_NUMBER = 1e15
"""Of an action or of a page's clock in milliseconds."""


@dataclass(frozen=True)
class Message:
    """A checked message from the page."""

    kind: str
    values: dict[str, Any]


def parse(text: str) -> Message:
    """Read one message.

    Raises:
        UsageError: it is no JSON object of a known type, or a value is missing or of a wrong type.
    """
    if len(text) > LARGEST_MESSAGE:
        raise UsageError(f"a message of {len(text)} characters; expected at most {LARGEST_MESSAGE}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}") from error
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UsageError(f"unknown message; expected an object with type {', '.join(KINDS)}")
    values: dict[str, Any] = {}
    for name, wanted in KINDS[kind].items():
        value = data.get(name)
        wrong_bool = isinstance(value, bool) and wanted is not bool
        if not isinstance(value, wanted) or wrong_bool:
            raise UsageError(f"message {kind!r}: {name} is {_short(value)}")
        values[name] = value
    if kind == "reset" and not 0 <= values["seed"] < MOST_SEED:
        raise UsageError(f"seed {_short(values['seed'])} is not in [0, {MOST_SEED})")
    if kind == "action":
        values = {"value": _numbers(values["value"]), "t": _numbers([values["t"]])[0]}
    return Message(kind, values)


def _numbers(given: list[Any]) -> list[float]:
    """Finite numbers of a size that float32 holds.

    Raises:
        UsageError: there is something else among them.
    """
    for value in given:
        whole = isinstance(value, int | float) and not isinstance(value, bool)
        if not whole or not abs(value) <= LARGEST_NUMBER or not math.isfinite(value):
            raise UsageError(f"action: expected numbers of a usual size, got {_short(value)}")
    return [float(value) for value in given]


def _short(value: Any) -> str:
    """What was sent, cut to what a message can show."""
    return f"{value!r:.80}"


def grid(observation: PlayObservation) -> Pixels:
    """Views side by side, imagination above the simulator: uint8 `[R*H, V*W, 3]`."""
    return np.concatenate([np.concatenate(list(views), axis=1) for views in observation.worlds])


def pack_frame(header: dict[str, Any], observation: PlayObservation) -> bytes:
    """The binary message of one frame."""
    image = cv2.cvtColor(grid(observation), cv2.COLOR_RGB2BGR)
    small = image.shape[0] * image.shape[1] <= LOSSLESS_PIXELS
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if small else [cv2.IMWRITE_JPEG_QUALITY, 92]
    _, encoded = cv2.imencode(".png" if small else ".jpg", image, options)
    text = json.dumps({**header, "format": "png" if small else "jpeg"}).encode()
    return struct.pack("<I", len(text)) + text + encoded.tobytes()
