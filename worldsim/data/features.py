"""LeRobot features and the WorldSpec they describe."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.channels import IMAGES, STATE, channels_of
from worldsim.data.layout import PICTURES
from worldsim.data.video import VideoCodec
from worldsim.errors import DataError
from worldsim.spec import ActionSpec, CameraSpec, VectorSpec, WorldSpec


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
    for channel, shape in channels_of(spec):
        if 0 not in shape:
            features[channel.column] = {
                "dtype": np.dtype(channel.dtype).name,
                "shape": list(shape) or [1],
                "names": channel.names(spec),
            }
    return features


BOOKKEEPING_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    **{
        key: {"dtype": "int64", "shape": [1], "names": None}
        for key in ("frame_index", "episode_index", "index", "task_index")
    },
}


def image_features(features: dict[str, Any]) -> tuple[ImageFeature, ...]:
    """Everything that is stored as images or video, in the order of info.json.

    A camera is called what its key says after LeRobot's prefix. Cameras that would share a name
    keep their whole keys.
    """
    keys = [key for key, feature in features.items() if feature["dtype"] in PICTURES]
    short = {key: _short_name(key) for key in keys}
    shared = Counter(short.values())
    names = {key: name if shared[name] == 1 else key for key, name in short.items()}
    if len(set(names.values())) < len(keys):
        names = {key: key for key in keys}
    return tuple(_image_feature(names[key], key, features[key]) for key in keys)


def _short_name(key: str) -> str:
    return key.removeprefix(IMAGES if key.startswith(IMAGES) else "observation.") or key


def _image_feature(name: str, key: str, feature: dict[str, Any]) -> ImageFeature:
    shape, names = list(feature["shape"]), flat_names(feature)
    channels_first = names[:1] in (["channels"], ["channel"]) or (not names and shape[0] == 3)
    height, width = shape[-2:] if channels_first else shape[:2]
    return ImageFeature(name, key, height, width, feature["dtype"] == "video")


def is_called_depth(feature: dict[str, Any]) -> bool:
    """Whether info.json says of a feature that it holds depth."""
    told = feature.get("info")
    places = (feature, told if isinstance(told, dict) else {})
    names = ("is_depth_map", "video.is_depth_map")
    return any(bool(place.get(name)) for place in places for name in names)


def flat_names(feature: dict[str, Any]) -> list[str]:
    """Names of a feature's entries: LeRobot writes a list, {"axes": [...]} or null."""
    names = feature.get("names")
    groups = list(names.values()) if isinstance(names, dict) else [names]
    return [str(name) for group in groups if isinstance(group, list) for name in group]


def entry_names(feature: dict[str, Any], key: str) -> list[str]:
    """Names of a vector's entries; by number where the data set has none."""
    size, names = int(np.prod(feature["shape"])), flat_names(feature)
    short = key.rpartition(".")[2]
    return names if len(names) == size else [f"{short}_{i}" for i in range(size)]


def vector_spec(features: dict[str, Any], key: str) -> VectorSpec:
    """Names and units (unknown, "1") of a vector feature; empty if it is absent."""
    if key not in features:
        return VectorSpec((), ())
    names = entry_names(features[key], key)
    return VectorSpec(tuple(names), ("1",) * len(names))


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
        DataError: no colour camera, or no `action`.
    """
    features = info["features"]
    if not cameras or "action" not in features:
        raise DataError(
            f"{root}: a world model needs camera features and 'action'; it has {sorted(features)}; "
            "columns.action=NAME says which of them is the action"
        )
    action = vector_spec(features, "action")
    return WorldSpec(
        fps=info["fps"],
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
