"""LeRobot features and the WorldSpec they describe."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.video import VideoCodec
from worldsim.errors import DataError, UsageError
from worldsim.rates import plain_rate
from worldsim.specs import ActionSpec, CameraSpec, VectorSpec, WorldSpec

STATE = "observation.state"
ENVIRONMENT_STATE = "observation.environment_state"
IMAGES = "observation.images."


@dataclass(frozen=True)
class ImageFeature:
    """A camera of a data set.

    Attributes:
        name: camera name in the WorldSpec.
        key: feature name on disk.
        video: True for MP4 files, False for encoded images inside the parquet rows.
    """

    name: str
    key: str
    height: int
    width: int
    video: bool


def own_features(spec: WorldSpec, codec: VideoCodec) -> dict[str, dict[str, Any]]:
    """The `features` entry of info.json for a data set recorded in `spec`."""
    features: dict[str, dict[str, Any]] = {}
    for camera in spec.cameras:
        features[IMAGES + camera.name] = {
            "dtype": "video",
            "shape": [camera.height, camera.width, 3],
            "names": ["height", "width", "channels"],
            "info": codec.info(camera.height, camera.width, spec.fps),
        }
    vectors = {
        STATE: spec.agent_pos.names,
        ENVIRONMENT_STATE: spec.state.names,
        "action": spec.action.names,
        "action_achieved": spec.action.names,
    }
    for key, names in vectors.items():
        if names:
            features[key] = {"dtype": "float32", "shape": [len(names)], "names": list(names)}
    for key, dtype in SCALARS.items():
        features[key] = {"dtype": dtype, "shape": [1], "names": None}
    return features


SCALARS = {"action_mask": "bool", "reward": "float32", "success": "bool", "progress": "float32"}
"""Per-row scalars, valid at the row's own observation (the mask: for the row's action)."""

BOOKKEEPING_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    **{
        key: {"dtype": "int64", "shape": [1], "names": None}
        for key in ("frame_index", "episode_index", "index", "task_index")
    },
}


def image_features(features: dict[str, Any]) -> tuple[ImageFeature, ...]:
    """The colour cameras of a data set, in the order of info.json; depth maps are left out."""
    cameras = []
    for key, feature in features.items():
        info = feature.get("info") or {}
        depth = info.get("is_depth_map") or info.get("video.is_depth_map")
        if feature.get("dtype") not in ("video", "image") or depth:
            continue
        shape, names = list(feature["shape"]), flat_names(feature)
        channels_first = names[:1] in (["channels"], ["channel"]) or (not names and shape[0] == 3)
        height, width = shape[1:] if channels_first else shape[:2]
        name = key.removeprefix(IMAGES).removeprefix("observation.")
        cameras.append(ImageFeature(name, key, height, width, feature["dtype"] == "video"))
    return tuple(cameras)


def flat_names(feature: dict[str, Any]) -> list[str]:
    """Names of a feature's entries: LeRobot writes a list, {"axes": [...]} or null."""
    names = feature.get("names")
    if isinstance(names, dict):
        names = [name for group in names.values() for name in group]
    return [str(name) for name in names or []]


def vector_spec(features: dict[str, Any], key: str) -> VectorSpec:
    """Names and units (unknown, "1") of a vector feature; empty if it is absent."""
    if key not in features:
        return VectorSpec((), ())
    size = int(np.prod(features[key]["shape"]))
    names = flat_names(features[key])
    if len(names) != size:
        names = [f"{key.split('.')[-1]}_{i}" for i in range(size)]
    return VectorSpec(tuple(names), ("1",) * size)


def derive_spec(
    info: dict[str, Any],
    cameras: Sequence[ImageFeature],
    low: list[float],
    high: list[float],
    root: Path,
) -> WorldSpec:
    """A WorldSpec for a data set that worldsim did not record.

    Nothing is guessed about what actions mean: mode and frame are "unknown", units "1".

    Args:
        info: info.json.
        cameras: those that show colour.
        low: least recorded value of each action dimension.
        high: greatest recorded value of each action dimension.

    Raises:
        DataError: no colour camera, no `action`, or a frame rate that is no positive number.
    """
    features = info["features"]
    if not cameras or "action" not in features:
        raise DataError(
            f"{root}: a world model needs camera features and 'action'; it has {sorted(features)}; "
            "columns.action=NAME says which of them is the action"
        )
    try:
        fps = plain_rate(float(info["fps"]))
    except (UsageError, TypeError, ValueError) as error:
        raise DataError(f"{root}/meta/info.json: {error}") from error
    action = vector_spec(features, "action")
    return WorldSpec(
        fps=fps,
        cameras=tuple(CameraSpec(c.name, c.height, c.width) for c in cameras),
        action=ActionSpec(
            names=action.names,
            low=tuple(low),
            high=tuple(high),
            units=action.units,
            scale=(1.0,) * action.dim,
            limits="measured",
        ),
        agent_pos=vector_spec(features, STATE),
        state=VectorSpec((), ()),
    )
