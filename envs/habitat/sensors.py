"""What habitat-sim is asked to draw, and a frame of what it drew.

Depth of a panorama is read from six pinhole views, as IndoorNav reads its own. habitat-sim's
equirectangular depth takes the nearest pixel of a small cube (`equirectangular.frag` of release
0.3.4), which is wrong by some percent on slanted walls; its colours are filtered.

Legend: V views, H W pixels; metres.
"""

import math
from typing import Any

import cv2
import numpy as np

from worldsim.envs.indoor.cube_faces import BORDER, FINE, resampling
from worldsim.envs.indoor.sensors import FAR, NEAR, VIEWS, Float, Frame, SensorConfig

_QUARTER = math.pi / 2
_FACES = {
    "front": (0.0, 0.0),
    "right": (0.0, -_QUARTER),
    "back": (0.0, math.pi),
    "left": (0.0, _QUARTER),
    "up": (_QUARTER, 0.0),
    "down": (-_QUARTER, 0.0),
}
"""Radians by which a camera turns about x, then y; in the order of `worldsim.cameras.sphere`."""


def sensor_specs(library: Any, sensor: SensorConfig) -> list[Any]:
    """Colour at twice the size for each view, and depth at its own, as habitat-sim's specs."""
    panorama, found = sensor.kind == "panorama", []
    for name, degrees in VIEWS[sensor.kind]:
        turn, fov = (0.0, math.radians(degrees)), None if panorama else float(sensor.fov)
        found.append(_spec(library, f"color {name}", sensor, sensor.size * FINE, turn, fov))
        if sensor.depth and not panorama:
            found.append(_spec(library, f"depth {name}", sensor, sensor.size, turn, fov))
    if sensor.depth and panorama:
        side = resampling(sensor.size).side
        fov = math.degrees(2 * math.atan(side / (side - 2 * BORDER)))
        faces = _FACES.items()
        found += [_spec(library, f"depth {n}", sensor, side, turn, fov) for n, turn in faces]
    return found


def frame_of(seen: Any, sensor: SensorConfig) -> Frame:
    """A frame of what the sensors gave."""
    pixels = {}
    for name, _ in VIEWS[sensor.kind]:
        fine = np.ascontiguousarray(np.asarray(seen[_uuid(f"color {name}", sensor)])[..., :3])
        size = (fine.shape[1] // FINE, fine.shape[0] // FINE)
        pixels[name] = np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.uint8)
    if not sensor.depth:
        return Frame(pixels, None)
    if sensor.kind == "panorama":
        faces = np.concatenate([_depth(seen, name, sensor) for name in _FACES], axis=1)
        return Frame(pixels, resampling(sensor.size).radial(np.reciprocal(faces))[None])
    return Frame(pixels, np.stack([_depth(seen, name, sensor) for name, _ in VIEWS[sensor.kind]]))


def _depth(seen: Any, name: str, sensor: SensorConfig) -> Float:
    """Planar depth `[H, W]`; where nothing is, habitat-sim says 0 and IndoorNav the far plane."""
    depth = np.asarray(seen[_uuid(f"depth {name}", sensor)], np.float32)
    return np.where(depth > 0, depth, np.float32(FAR))


def _spec(
    library: Any,
    what: str,
    sensor: SensorConfig,
    rows: int,
    turn: tuple[float, float],
    fov: float | None,
) -> Any:
    """One of habitat-sim's specs.

    Args:
        library: habitat-sim.
        what: kind and name of a view.
        sensor: that the view is of.
        rows: of the image.
        turn: radians about x and y.
        fov: degrees; None: equirectangular.
    """
    spec = library.EquirectangularSensorSpec() if fov is None else library.CameraSensorSpec()
    colour = what.startswith("color")
    spec.uuid = _uuid(what, sensor)
    spec.sensor_type = library.SensorType.COLOR if colour else library.SensorType.DEPTH
    spec.resolution = [rows, 2 * rows if fov is None else rows]
    spec.position = [0.0, float(sensor.height), 0.0]
    spec.orientation = [*turn, 0.0]
    spec.channels = 4 if colour else 1
    spec.near, spec.far = NEAR, FAR
    if fov is not None:
        spec.hfov = fov
    return spec


def _uuid(what: str, sensor: SensorConfig) -> str:
    """Name of a sensor, with all that it is.

    Specs of equal names are equal to habitat-sim whatever their sizes and fields of view, and
    `reconfigure` then leaves the former ones in place.
    """
    return f"{what} {sensor.kind} {sensor.size} {sensor.fov}"
