"""LeRobot features and the WorldSpec they describe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.channels import (
    ACHIEVED_ACTION,
    ACTION,
    IMAGES,
    PRIVILEGED_STATE,
    PROGRESS,
    REWARD,
    STATE,
    SUCCESS,
    VALID_ACTION,
)
from worldsim.data.video import VideoCodec
from worldsim.errors import DataError
from worldsim.specs import ActionSpec, CameraSpec, VectorSpec, WorldSpec


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
        PRIVILEGED_STATE: spec.state.names,
        ACTION: spec.action.names,
        ACHIEVED_ACTION: spec.action.names,
    }
    for key, names in vectors.items():
        if names:
            features[key] = {"dtype": "float32", "shape": [len(names)], "names": list(names)}
    for key, dtype in SCALARS.items():
        features[key] = {"dtype": dtype, "shape": [1], "names": None}
    return features


SCALARS = {VALID_ACTION: "bool", REWARD: "float32", SUCCESS: "bool", PROGRESS: "float32"}
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


def derive_spec(info: dict[str, Any], low: list[float], high: list[float], root: Path) -> WorldSpec:
    """A WorldSpec for a data set that worldsim did not record.

    Nothing is guessed about what actions mean: mode and frame are "unknown", units "1".

    Args:
        low: least recorded value of each action dimension.
        high: greatest recorded value of each action dimension.

    Raises:
        DataError: no camera, no `action`, or a frame rate that is no whole number.
    """
    features = info["features"]
    cameras = image_features(features)
    if not cameras or "action" not in features:
        raise DataError(
            f"{root}: a world model needs camera features and 'action'; it has {sorted(features)}"
        )
    if int(info["fps"]) != info["fps"] or info["fps"] <= 0:
        raise DataError(f"{root}: fps must be a positive whole number, got {info['fps']}")
    action = vector_spec(features, "action")
    return WorldSpec(
        fps=int(info["fps"]),
        cameras=tuple(CameraSpec(c.name, c.height, c.width) for c in cameras),
        action=ActionSpec(
            names=action.names,
            low=tuple(low),
            high=tuple(high),
            units=action.units,
            scale=(1.0,) * action.dim,
        ),
        agent_pos=vector_spec(features, STATE),
        state=VectorSpec((), ()),
    )
