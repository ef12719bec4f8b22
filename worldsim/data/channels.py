"""Names of the columns of a data set and the table of what is recorded, in one place.

One row of `CHANNELS` is one array: recorder, episode, writer, reader, cache and clips go through
the rows, so that one more array is one more row. Frames are apart, as they are films.

LeRobot types a policy's inputs and outputs by name. It takes `observation.state` as
proprioception, other names that begin with "observation" as further state, and every name that
begins with "action" as something to predict. What a policy must neither see nor predict
therefore begins with neither.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from worldsim.data.layout import own_entry
from worldsim.errors import UsageError, unknown_name
from worldsim.spec import WorldSpec

STATE = "observation.state"
"""Proprioception."""
IMAGES = "observation.images."
"""Prefix of the cameras."""
ACTION = "action"
"""What was commanded."""
PRIVILEGED_STATE = "privileged_state"
"""What the simulator knows and a robot does not."""
ACHIEVED_ACTION = "achieved_action"
"""What the robot did, in the units of `ACTION`."""
VALID_ACTION = "valid_action"
"""Whether the row's action was taken: False in the last row, whose actions repeat the last ones."""
REWARD, SUCCESS, PROGRESS = "reward", "success", "progress"

ACTIONS = (ACTION, ACHIEVED_ACTION)
"""Columns that mean something only where `VALID_ACTION` says so."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Channel:
    """One recorded array.

    Attributes:
        name: in an `Episode`, the cache and clips.
        column: in a LeRobot data set.
        shape: of one row in a world; None where that world does not record it.
        names: LeRobot's names of the entries; None has no names.
        dtype: of the array.
        per: "frame" has T+1 rows an episode, "action" T.
        optional: whether it lies in `extras`, and data sets without it are whole.
        in_clips: whether clips carry it.
        per_view: whether the first axis of a row is the view.
        per_pixel: whether the last two axes of a row are an image's, resized with the frames.
    """

    name: str
    column: str
    shape: Callable[[WorldSpec], Shape | None]
    names: Callable[[WorldSpec], list[str] | None] = lambda spec: None
    dtype: type[np.generic] = np.float32
    per: Literal["frame", "action"] = "frame"
    optional: bool = False
    in_clips: bool = True
    per_view: bool = False
    per_pixel: bool = False

    def of(self, holder: Any) -> np.ndarray:
        """This array of an episode or a cache.

        Raises:
            UsageError: it is not there.
        """
        found = holder.extras.get(self.name) if self.optional else getattr(holder, self.name)
        if found is None:
            raise UsageError(
                f"{self.name!r} is not there, but the world says that it is recorded; give it in "
                f"Episode(extras={{{self.name!r}: ...}}), or take it out of the spec"
            )
        return np.asarray(found)


def _depth_shape(spec: WorldSpec) -> Shape | None:
    """`[V, H, W]` of one frame.

    Raises:
        UsageError: cameras differ in size.
    """
    if spec.depth is None:
        return None
    sizes = {(camera.height, camera.width) for camera in spec.cameras}
    if len(sizes) != 1:
        raise UsageError(
            f"depth is recorded as [T, V, H, W], but cameras have sizes {sorted(sizes)}; give all "
            "cameras one size, or take depth out of the spec"
        )
    return (len(spec.cameras), *sizes.pop())


def _vector(
    name: str, column: str, names: Callable[[WorldSpec], tuple[str, ...]], **options: Any
) -> Channel:
    """A channel of named numbers."""
    return Channel(
        name, column, lambda spec: (len(names(spec)),), lambda spec: list(names(spec)), **options
    )


CHANNELS: tuple[Channel, ...] = (
    _vector("agent_pos", STATE, lambda spec: spec.agent_pos.names),
    _vector("state", PRIVILEGED_STATE, lambda spec: spec.state.names),
    _vector("action", ACTION, lambda spec: spec.action.names, per="action"),
    _vector(
        "action_achieved",
        ACHIEVED_ACTION,
        lambda spec: spec.action.names,
        per="action",
        in_clips=False,
    ),
    Channel("action_mask", VALID_ACTION, lambda spec: (), dtype=np.bool_),
    Channel("reward", REWARD, lambda spec: ()),
    Channel("success", SUCCESS, lambda spec: (), dtype=np.bool_),
    Channel("progress", PROGRESS, lambda spec: ()),
    Channel(
        "camera_pose",
        "camera_pose",
        lambda spec: (len(spec.cameras), 4, 4) if spec.camera_pose else None,
        optional=True,
        per_view=True,
    ),
    Channel(
        "depth",
        "depth",
        _depth_shape,
        lambda spec: ["view", "height", "width"],
        optional=True,
        per_view=True,
        per_pixel=True,
    ),
    Channel(
        "events",
        "events",
        lambda spec: (len(spec.events),) if spec.events else None,
        lambda spec: list(spec.events),
        optional=True,
    ),
)
"""What is recorded, in the order of the columns. `camera_pose` is camera to world in metres.
`depth` is in metres and of the kind that the spec says. `events` are 0 or 1 at the observation."""

MASK = "action_mask"
"""The one channel that nobody records: it follows from the number of actions."""


def is_channel(column: str) -> bool:
    """Whether a column of a data set is a channel."""
    return any(channel.column == column for channel in CHANNELS)


def channels_of(spec: WorldSpec) -> list[tuple[Channel, Shape]]:
    """The channels that a world records, and the shape of a row of each."""
    shapes = [(channel, channel.shape(spec)) for channel in CHANNELS]
    return [(channel, shape) for channel, shape in shapes if shape is not None]


def extra_channels(spec: WorldSpec) -> dict[str, tuple[Channel, Shape]]:
    """The optional channels that a world records, by name, and the shape of a row of each."""
    return {
        channel.name: (channel, shape) for channel, shape in channels_of(spec) if channel.optional
    }


def checked_extras(
    told: Mapping[str, Any], spec: WorldSpec, where: str, count: int | None = None
) -> dict[str, np.ndarray]:
    """What is told of one row of each optional channel, or of `count` rows, float32.

    Raises:
        UsageError: a name or a shape is not one that the world records.
    """
    recorded, leading = extra_channels(spec), () if count is None else (count,)
    rows = {name: np.asarray(values, np.float32) for name, values in told.items()}
    for name, values in rows.items():
        if name not in recorded:
            raise unknown_name(f"{where}: optional channel", name, recorded)
        expected = (*leading, *recorded[name][1])
        if values.shape != expected:
            raise UsageError(
                f"{where}: extras[{name!r}] has shape {values.shape}, expected {expected}"
            )
    return rows


def recorded_channels(spec: WorldSpec) -> list[tuple[Channel, Shape]]:
    """As `channels_of`, without the mask, which nobody records."""
    return [(channel, shape) for channel, shape in channels_of(spec) if channel.name != MASK]


EARLIER_NAMES = {
    "observation.environment_state": PRIVILEGED_STATE,
    "action_achieved": ACHIEVED_ACTION,
    "action_mask": VALID_ACTION,
}
"""Names under which worldsim wrote columns before, and what they are called now."""


def current_features(info: Mapping[str, Any]) -> dict[str, Any]:
    """The `features` of info.json, with the columns of worldsim's own sets under today's names."""
    features: dict[str, Any] = info["features"]
    if not is_own(info):
        return features
    return {EARLIER_NAMES.get(key, key): feature for key, feature in features.items()}


def renamed(table: pa.Table) -> pa.Table:
    """Rows that worldsim wrote, under today's names."""
    return table.rename_columns([EARLIER_NAMES.get(name, name) for name in table.column_names])


def is_own(info: Mapping[str, Any]) -> bool:
    """Whether worldsim wrote the data set: its info.json says what world it was recorded in."""
    return "spec" in own_entry(info)
