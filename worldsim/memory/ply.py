"""Points as a PLY file (Turk, The PLY Polygon File Format, 1994), which any viewer of clouds opens.

Legend: P points, C features.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldsim.files import atomic_path

Colours = Callable[[Tensor], Tensor]
"""Features `[P, C]` to red, green and blue, uint8 `[P, 3]`."""

_VERTEX = np.dtype(
    [
        *((axis, "<f4") for axis in "xyz"),
        *((colour, "u1") for colour in ("red", "green", "blue")),
        ("frame", "<i4"),
    ]
)
_NAMES = {"<f4": "float", "|u1": "uchar", "<i4": "int"}


def write_ply(
    path: Path, place: Tensor, features: Tensor, number: Tensor, colours: Colours | None = None
) -> None:
    """Write points, colours and the frames that showed them last; binary, whole or not at all.

    Args:
        path: of the file.
        place: `[P, 3]` metres, z up.
        features: `[P, C]`.
        number: `[P]` of the newest frame that showed each.
        colours: of features; None shows the age, newest in white.
    """
    shades = _by_age(number) if colours is None else colours(features)
    vertex = np.zeros(len(place), _VERTEX)
    for index, axis in enumerate("xyz"):
        vertex[axis] = place[:, index].cpu().numpy()
    for index, colour in enumerate(("red", "green", "blue")):
        vertex[colour] = shades[:, index].cpu().numpy()
    vertex["frame"] = number.cpu().numpy()
    head = io.StringIO()
    head.write(
        "ply\nformat binary_little_endian 1.0\ncomment worldsim point memory, metres, z up\n"
    )
    head.write(f"element vertex {len(vertex)}\n")
    for name in vertex.dtype.names or ():
        head.write(f"property {_NAMES[vertex.dtype[name].str]} {name}\n")
    head.write("end_header\n")
    with atomic_path(path) as temporary:
        temporary.write_bytes(head.getvalue().encode("ascii") + vertex.tobytes())


def _by_age(number: Tensor) -> Tensor:
    """Grey `[P, 3]`, the darker the older."""
    newest = number.max().clamp_min(1) if len(number) else number.new_ones(())
    grey = (64 + 191 * number.clamp_min(0) / newest).to(torch.uint8)
    return grey[:, None].expand(-1, 3)
