"""Names of the columns of a data set, in one place.

LeRobot types a policy's inputs and outputs by name. It takes `observation.state` as
proprioception, other names that begin with "observation" as further state, and every name that
begins with "action" as something to predict. What a policy must neither see nor predict
therefore begins with neither.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

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


def current_columns(table: pa.Table, info: Mapping[str, Any]) -> pa.Table:
    """Rows of the data set that `info` describes, under today's names."""
    return renamed(table) if is_own(info) else table


def renamed(table: pa.Table) -> pa.Table:
    """Rows that worldsim wrote, under today's names."""
    return table.rename_columns([EARLIER_NAMES.get(name, name) for name in table.column_names])


def is_own(info: Mapping[str, Any]) -> bool:
    """Whether worldsim wrote the data set: its info.json says what world it was recorded in."""
    own = info.get("worldsim")
    return isinstance(own, dict) and "spec" in own
