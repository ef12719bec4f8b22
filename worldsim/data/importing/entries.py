"""Choosing cameras and vectors among the entries of a tree, such as HDF5 or RLDS hold."""

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from worldsim.data.angles import ROLL_PITCH_YAW
from worldsim.data.columns import Columns
from worldsim.data.video import Pixels
from worldsim.errors import DataError, unknown_name
from worldsim.spec import CameraSpec

Size = tuple[int, int]
"""(height, width) of a camera."""

_ENDINGS = ("_image", "_rgb")
_AXES = ("x", "y", "z")
_POSES = {
    "cartesian_position": (*_AXES, *ROLL_PITCH_YAW),  # DROID
    "ee_states": (*_AXES, *(f"rot_{axis}" for axis in _AXES)),  # LIBERO: axis times angle
}
"""Numbers of entries that are a pose."""


_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff")
"""First bytes of PNG and JPEG."""


def is_coded(data: bytes) -> bool:
    """Whether bytes are a picture, PNG or JPEG."""
    return data.startswith(_SIGNATURES)


def decoded_picture(data: bytes, where: str) -> Pixels:
    """A coded picture as uint8 `[H, W, 3]`.

    Raises:
        DataError: it does not decode.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"), np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{where}: a picture does not decode ({error})") from error


def found(name: str, known: Sequence[str], kind: str, root: Path) -> str:
    """The entry of a name, given whole or by its last part.

    Raises:
        UsageError: no entry, or several, are called so.
    """
    ends = [entry for entry in known if entry.rpartition("/")[2] == name]
    if name in known or len(ends) != 1:
        ends = [name] if name in known else []
    if not ends:
        raise unknown_name(f"{kind} in {root}", name, known)
    return ends[0]


def chosen_cameras(
    images: Mapping[str, Size], columns: Columns, root: Path
) -> dict[str, tuple[str, CameraSpec]]:
    """{camera: (entry, spec)} in view order: those asked for, or else all.

    Args:
        images: sizes of the entries that are pictures in colour.
        columns: what the user says.
        root: the source, for messages.

    Raises:
        DataError: there is none.
        UsageError: a camera that was asked for is not there.
    """
    if not images:
        raise DataError(
            f"{root} holds no pictures (uint8, height, width, 3): a world model needs a camera. "
            "Record or render the set with images"
        )
    entries = list(images)
    short = {entry: _camera_name(entry) for entry in entries}
    counts = Counter(short.values())
    names = {
        entry: name if counts[name] == 1 else entry.replace("/", "_")
        for entry, name in short.items()
    }
    if not columns.cameras:
        chosen = {names[entry]: entry for entry in entries}
    else:
        by_name = {name: entry for entry, name in names.items()}
        chosen = {}
        for name, column in columns.cameras.items():
            entry = by_name.get(column) or found(column, entries, "camera", root)
            chosen[names[entry] if name == column else name] = entry
    return {name: (entry, CameraSpec(name, *images[entry])) for name, entry in chosen.items()}


def _camera_name(entry: str) -> str:
    name = entry.rpartition("/")[2]
    for ending in _ENDINGS:
        name = name.removesuffix(ending) or name
    return name


def chosen_vectors(
    kind: str, asked: Sequence[str], usual: Sequence[str], vectors: Mapping[str, int], root: Path
) -> tuple[str, ...]:
    """Entries that together are a vector: those asked for, or those that match a usual pattern.

    Args:
        kind: "action" or "proprioception", for messages.
        asked: names of entries.
        usual: patterns of last parts of names, in order.
        vectors: {entry: width}.
        root: the source, for messages.

    Raises:
        UsageError: an entry is not there.
    """
    if asked:
        return tuple(
            found(name, list(vectors), f"{kind} (columns of numbers)", root) for name in asked
        )
    matched = [
        entry
        for pattern in usual
        for entry in vectors
        if re.fullmatch(pattern, entry.rpartition("/")[2])
    ]
    return tuple(dict.fromkeys(matched))


def vector_names(entries: Sequence[str], vectors: Mapping[str, int]) -> tuple[str, ...]:
    """Names of the numbers of a vector that is made of entries, one after the other."""
    names: list[str] = []
    for entry in entries:
        short, width = entry.rpartition("/")[2], vectors[entry]
        if width == 1:
            names.append(short)
        elif width == 3 and short.endswith("pos"):
            names += [f"{short}_{axis}" for axis in _AXES]
        elif len(parts := _POSES.get(short, ())) == width:
            names += [f"{short}_{part}" for part in parts]
        else:
            names += [f"{short}_{i}" for i in range(width)]
    counts = Counter(names)
    if all(count == 1 for count in counts.values()):
        return tuple(names)
    return tuple(
        f"{entry}_{i}".replace("/", "_") for entry in entries for i in range(vectors[entry])
    )
